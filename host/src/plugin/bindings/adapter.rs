//! The world `webhook-adapter`, generated. `pipeline` takes the shared interfaces from here.

wasmtime::component::bindgen!({
    path: "../wit/0.1",
    world: "webhook-adapter",
    imports: {
        default: trappable,
        "parlor:plugin/http.send": async | trappable,
        "parlor:plugin/store.get": async | trappable,
        "parlor:plugin/store.set": async | trappable,
        "parlor:plugin/store.delete": async | trappable,
        "parlor:plugin/store.increment": async | trappable,
    },
    exports: { default: async },
});
