//! What `wit-bindgen` makes of the contract: one module a world, with the shared types in the first.

#![allow(missing_docs, unsafe_op_in_unsafe_fn, clippy::unwrap_used)]

pub mod adapter {
    wit_bindgen::generate!({
        path: "../wit/0.1",
        world: "parlor:plugin/webhook-adapter",
        pub_export_macro: true,
        generate_all,
    });
}

/// What `socket-adapter` has beyond `webhook-adapter`; a component of the former exports both.
pub mod connection {
    wit_bindgen::generate!({
        path: "../wit/0.1",
        inline: "
            package parlor:sdk;
            world connected {
                include parlor:plugin/imports@0.1.0;
                export parlor:plugin/connection@0.1.0;
            }
        ",
        world: "parlor:sdk/connected",
        pub_export_macro: true,
        with: {
            "parlor:plugin/types@0.1.0": super::adapter::parlor::plugin::types,
            "parlor:plugin/settings@0.1.0": super::adapter::parlor::plugin::settings,
            "parlor:plugin/secrets@0.1.0": super::adapter::parlor::plugin::secrets,
            "parlor:plugin/http@0.1.0": super::adapter::parlor::plugin::http,
            "parlor:plugin/store@0.1.0": super::adapter::parlor::plugin::store,
            "parlor:plugin/log@0.1.0": super::adapter::parlor::plugin::log,
            "parlor:plugin/clock@0.1.0": super::adapter::parlor::plugin::clock,
        },
    });
}

pub mod pipeline {
    wit_bindgen::generate!({
        path: "../wit/0.1",
        world: "parlor:plugin/prompt-pipeline",
        pub_export_macro: true,
        with: {
            "parlor:plugin/types@0.1.0": super::adapter::parlor::plugin::types,
            "parlor:plugin/settings@0.1.0": super::adapter::parlor::plugin::settings,
            "parlor:plugin/secrets@0.1.0": super::adapter::parlor::plugin::secrets,
            "parlor:plugin/http@0.1.0": super::adapter::parlor::plugin::http,
            "parlor:plugin/store@0.1.0": super::adapter::parlor::plugin::store,
            "parlor:plugin/log@0.1.0": super::adapter::parlor::plugin::log,
            "parlor:plugin/clock@0.1.0": super::adapter::parlor::plugin::clock,
        },
    });
}
