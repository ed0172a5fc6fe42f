//! The world `prompt-pipeline`, generated over the interfaces of `adapter`.

wasmtime::component::bindgen!({
    path: "../wit/0.1",
    world: "prompt-pipeline",
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
