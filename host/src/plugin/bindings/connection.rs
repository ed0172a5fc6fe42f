//! What the world `socket-adapter` has beyond `webhook-adapter`, generated over the interfaces of `adapter`.
//!
//! One component exports both, so that an instance is made of either's pre-instantiation.

wasmtime::component::bindgen!({
    path: "../wit/0.1",
    inline: "
        package parlor:host;
        world connected {
            include parlor:plugin/imports@0.1.0;
            export parlor:plugin/connection@0.1.0;
        }
    ",
    world: "parlor:host/connected",
    with: {
        "parlor:plugin/types": super::adapter::parlor::plugin::types,
        "parlor:plugin/settings": super::adapter::parlor::plugin::settings,
        "parlor:plugin/secrets": super::adapter::parlor::plugin::secrets,
        "parlor:plugin/http": super::adapter::parlor::plugin::http,
        "parlor:plugin/store": super::adapter::parlor::plugin::store,
        "parlor:plugin/log": super::adapter::parlor::plugin::log,
        "parlor:plugin/clock": super::adapter::parlor::plugin::clock,
    },
    imports: { default: async | trappable },
    exports: { default: async },
});
