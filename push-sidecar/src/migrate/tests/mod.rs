//! The whole of it, on the samples and on what is broken.

mod broken;
mod samples;

use super::files::Memory;
use super::*;

/// The key of the documented samples.
const KEY: &str = "ExampleKey0ExampleKey1ExampleKey2ExampleKey3ExampleKey4ExampleKey5";

/// The documented installation, where it belongs on a machine.
const DOCUMENTED: [(&str, &str); 7] = [
    (
        "/etc/sysconfig/push-server-multi",
        include_str!("../../../../tests/samples/documented/push-server-multi"),
    ),
    (
        "/etc/push-server/push-server-pub-9010.json",
        include_str!("../../../../tests/samples/documented/push-server-pub-9010.json"),
    ),
    (
        "/etc/push-server/push-server-sub-8010.json",
        include_str!("../../../../tests/samples/documented/push-server-sub-8010.json"),
    ),
    ("/etc/nginx/nginx.conf", include_str!("../../../../tests/samples/nginx.conf")),
    (
        "/etc/nginx/bx/conf/nginx-maps-and-upstreams.conf",
        include_str!("../../../../tests/samples/documented/nginx-maps-and-upstreams.conf"),
    ),
    (
        "/etc/nginx/bx/conf/im_subscrider.conf",
        include_str!("../../../../tests/samples/documented/im_subscrider.conf"),
    ),
    (
        "/etc/nginx/bx/site_enabled/rtc.conf",
        include_str!("../../../../tests/samples/documented/rtc.conf"),
    ),
];

const CONTAINER: &str =
    include_str!("../../../../tests/samples/documented/push-server-container.json");
const PORTAL: &str = include_str!("../../../../tests/samples/documented/settings.php");

/// The documented installation, with the portal's settings.
fn documented() -> Memory {
    let files =
        DOCUMENTED.iter().fold(Memory::default(), |files, (path, text)| files.with(path, text));
    files.with("/home/bitrix/www/bitrix/.settings.php", PORTAL)
}

fn with_portal() -> Sources {
    Sources { portal: Some("/home/bitrix/www/bitrix/.settings.php".into()), ..Sources::default() }
}

/// The findings of a line, as text.
fn told(plan: &Plan, file: &str, line: usize) -> Vec<String> {
    let here =
        |finding: &&finding::Finding| &*finding.place.file == file && finding.place.line == line;
    let text = |f: &finding::Finding| format!("{}: {} -> {}", f.verdict, f.setting, f.became);
    plan.findings.list().filter(here).map(text).collect()
}

fn problems(plan: &Plan) -> Vec<String> {
    plan.findings.problems().map(ToString::to_string).collect()
}

fn output<'p>(plan: &'p Plan, path: &str) -> &'p str {
    let output = plan.outputs.iter().find(|output| output.path == Path::new(path));
    let output = output.unwrap_or_else(|| panic!("no {path}: {:?}", problems(plan)));
    std::str::from_utf8(&output.bytes).expect("UTF-8")
}
