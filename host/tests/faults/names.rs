//! F16: names that lead elsewhere. Wherever a name comes in (manifests, the configuration, URLs, the operators' door,
//! links in the plugin folder) one that is no name is refused, and no file outside is touched: the kernel's own list of
//! the files that the host asked for says so.

use std::path::Path;
use std::process::Output;

use parlor::plugin::sections::custom;
use serde_json::{Value, json};

use crate::row::Row;
use crate::support::{Host, Model, Settings, client, guests, raw};
use crate::sync::traced;

/// The folder beside the host's own that nothing may lead to.
const OUTSIDE: &str = "outside";

/// What is no name; `%` stands as it would in a URL.
fn evil_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "../outside/x",
        "..",
        ".",
        "%2e%2e/outside/x",
        "..%2foutside%2fx",
        "%2e%2e%5coutside",
        "..\\outside\\x",
        "C:\\outside",
        "/outside/x",
        "~/outside",
        "x/../../outside/x",
        "x\0",
        "\0",
        "x%00",
        "X",
        "-x",
        "x_y",
        "x y",
        "ｘ",
        "x\n",
        "",
        "outside/x",
        "$(outside)",
        "${OUTSIDE}",
    ]
    .map(str::to_owned)
    .into();
    names.push("x".repeat(64));
    names.push("x".repeat(4096));
    names.push("../outside/".repeat(400));
    names
}

/// The component of a guest under another manifest: a section that a packer puts around it.
fn renamed(name: &str) -> Vec<u8> {
    let mut bytes = std::fs::read(guests().join("hush.wasm")).unwrap();
    let manifest = json!({
        "name": name, "version": "0.1.0", "kind": "pipeline", "contract": "0.1", "license": "Apache-2.0", "description": "x",
    });
    // JSON strings are TOML strings, but for NUL, which TOML escapes likewise.
    let lines = manifest.as_object().unwrap().iter().map(|(key, value)| format!("{key} = {value}\n"));
    bytes.extend(custom("parlor:manifest", lines.collect::<String>().as_bytes()));
    bytes
}

/// A host whose plugin folder holds one evil manifest each, and links out of it.
fn host(model: &Model) -> Host {
    let settings = Settings { is_warm: false, ..Settings::new() }
        .set("plugins.folder", "plugins")
        .set("chat", json!({}));
    let host = Host::at_rest(&model.join(settings));
    let (plugins, outside) = (host.folder().join("plugins"), host.folder().join(OUTSIDE));
    std::fs::create_dir_all(&plugins).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    for (number, name) in evil_names().iter().enumerate() {
        std::fs::write(plugins.join(format!("evil-{number}.wasm")), renamed(name)).unwrap();
    }
    std::fs::copy(guests().join("warden.wasm"), outside.join("x.wasm")).unwrap();
    std::fs::copy(guests().join("warden.wasm"), plugins.join("..data")).unwrap();
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, plugins.join(name)).unwrap();
    link("../outside/x.wasm", "link.wasm");
    link(outside.join("x.wasm").to_str().unwrap(), "link-from-root.wasm");
    link("../outside", "folder.wasm");
    link("nothing", "nowhere.wasm");
    link("link.wasm", "link-to-link.wasm");
    link("..data", "inside.wasm");
    host
}

/// Lines of the trace that ask for a file outside and are granted it. To look where a link leads is to ask for no more
/// than its name.
fn touched(trace: &Path) -> Vec<String> {
    let text = String::from_utf8_lossy(&std::fs::read(trace).unwrap()).into_owned();
    let asks = |line: &&str| {
        ["open", "creat", "unlink", "rename", "mkdir", "truncate", "chmod", "execve"]
            .iter()
            .any(|call| line.contains(call))
    };
    let is_outside = |line: &&str| {
        line.contains("/outside") || line.contains("outside/x") || line.contains("plugins/link")
    };
    text.lines().filter(asks).filter(is_outside).map(str::to_owned).collect()
}

fn told(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_names_that_lead_elsewhere_are_refused_and_touch_nothing() {
    let mut row = Row::new(
        "F16",
        "names that lead elsewhere: manifests, links, URLs, the operators' door, configuration",
    );
    let model = Model::start().await;
    let mut host = host(&model);
    let trace = host.folder().join("trace");
    let command = traced(&host, &["-s", "8192", "-e", "trace=%file"], &trace);
    host.begin_with(command);
    host.serves().await;
    for (number, name) in evil_names().iter().enumerate() {
        row.rounds += 1;
        let file = format!("evil-{number}.wasm");
        let lines = host.lines_with(&file);
        let refused = lines.iter().any(|line| line.contains("manifest has problems"));
        row.holds(refused, format!("a manifest named {name:.40?}: {lines:?}"));
    }
    for link in ["link.wasm", "link-from-root.wasm", "link-to-link.wasm"] {
        row.rounds += 1;
        let refused =
            host.lines_with(&format!("/{link}")).iter().any(|line| line.contains("outside of its folder"));
        row.holds(refused, format!("the link {link}"));
    }
    let served = host.lines_with("plugin serves");
    row.holds(
        served.len() == 1 && served[0].contains("warden"),
        format!("a link within the folder: {served:?}"),
    );
    knock_everywhere(&mut row, &host).await;
    host.terminate();
    assert!(host.ended().await.success());
    let outside: Vec<_> =
        std::fs::read_dir(host.folder().join(OUTSIDE)).unwrap().map(|entry| entry.unwrap().path()).collect();
    row.holds(outside.len() == 1, format!("{outside:?}"));
    let all = std::fs::read_to_string(&trace).unwrap_or_default();
    row.holds(
        all.contains("inside.wasm") && all.contains("evil-0.wasm"),
        "the trace does not show what was opened",
    );
    let touched = touched(&trace);
    row.holds(touched.is_empty(), format!("files outside: {touched:?}"));
    row.figure(format!("{} files touched outside", touched.len()));
    configurations(&mut row, &model);
    row.close();
}

/// Every name in every URL that takes one: as it is, and escaped.
async fn knock_everywhere(row: &mut Row, host: &Host) {
    let token = host.token_with(&["--role", "admin", "--subject", "olga"]);
    for name in evil_names() {
        let escaped: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for name in [name.clone(), escaped] {
            row.rounds += 1;
            for path in ["/webhook/NAME", "/webhook/NAME/", "/assets/NAME", "/NAME"] {
                let status = status(host.address(), path, &name, "").await;
                row.holds(
                    !(200..300).contains(&status) || is_page(path, &name),
                    format!("{path} of {name:.40?}: {status}"),
                );
            }
            let admin = host.admin_url("").trim_start_matches("http://").parse().unwrap();
            for path in
                ["/channels/NAME", "/plugins/NAME", "/channels/NAME/conversations/NAME", "/dead-letters/NAME"]
            {
                let head = format!("authorization: Bearer {token}\r\n");
                let status = status(admin, &format!("/api/v1/admin{path}"), &name, &head).await;
                let is_list = name.is_empty() || name == "." || name == "..";
                row.holds(
                    !(200..300).contains(&status) || is_list,
                    format!("{path} of {name:.40?}: {status}"),
                );
            }
        }
    }
    let status = client().get(host.url("/health")).send().await.unwrap().status();
    row.holds(status == 200, format!("well after it: {status}"));
}

/// The chat page is at `/`, also under names for it that a client makes shorter.
fn is_page(path: &str, name: &str) -> bool {
    path == "/NAME" && name.is_empty()
}

/// The status that a request as it stands gets; none was worth an answer counts as refused.
async fn status(address: std::net::SocketAddr, path: &str, name: &str, head: &str) -> u16 {
    let path = path.replace("NAME", name);
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{head}connection: close\r\n\r\n");
    let said = raw(address, request.as_bytes()).await;
    said.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(400)
}

/// The same names for channels and plugins in the configuration, each told with its place.
fn configurations(row: &mut Row, model: &Model) {
    for name in evil_names() {
        let settings = Settings::new().set("plugins.folder", guests().to_str().unwrap());
        let channel = json!({ "adapter": "slate" });
        let named = settings.clone().insert("channels", &name, channel.clone());
        let adapter = settings.clone().set("channels.team", json!({ "adapter": name }));
        let pipeline = settings.set("channels.team", json!({ "adapter": "slate", "pipelines": [name] }));
        for (what, settings) in [("channel", named), ("adapter", adapter), ("pipeline", pipeline)] {
            row.rounds += 1;
            let mut settings = model.join(settings);
            settings.config["plugins"]["allow_unsigned"] = Value::Bool(true);
            let host = Host::at_rest(&Settings { is_warm: false, ..settings });
            let output = host.output(&["check"]);
            let told = told(&output);
            row.holds(
                !output.status.success() && told.contains("parlor.yaml"),
                format!("a {what} named {name:.40?}: {told:.300}"),
            );
        }
    }
}
