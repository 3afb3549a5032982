//! On the samples every setting is accounted for.

use proptest::prelude::*;
use serde_json::Value;

use super::super::files::{Disk, File};
use super::*;
use crate::config::Config;

/// Names of JSON values by another reader than ours.
fn names(value: &Value, path: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                let dot = if path.is_empty() { "" } else { "." };
                names(value, &format!("{path}{dot}{name}"), out);
            }
        }
        Value::Array(elements) if !elements.is_empty() => {
            for (index, value) in elements.iter().enumerate() {
                names(value, &format!("{path}[{index}]"), out);
            }
        }
        _ => out.push(path.to_owned()),
    }
}

fn assert_json_accounted_for(plan: &Plan, file: &str, text: &str) {
    let mut all = Vec::new();
    names(&serde_json::from_str(text).expect("JSON"), "", &mut all);
    assert!(all.len() > 10);
    for name in all {
        let start = format!("{name} = ");
        let found =
            plan.findings.list().any(|f| &*f.place.file == file && f.setting.starts_with(&start));
        assert!(found, "{file}: {name} is not in the report");
    }
}

fn assert_line_told(plan: &Plan, file: &str, line: usize, name: &str) {
    let told = told(plan, file, line);
    assert!(
        told.iter().any(|text| text.contains(name)),
        "{file}:{line}: {name} is not in the report: {told:?}"
    );
}

/// Lines `NAME=value`; several of them may be in a line.
fn assert_variables_accounted_for(plan: &Plan, file: &str, text: &str) {
    for (index, line) in text.lines().enumerate() {
        for part in line.split(['#', ';', ' ']).filter(|part| part.contains('=')) {
            let name = part.split('=').next().expect("a name");
            if !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
                assert_line_told(plan, file, index + 1, name);
            }
        }
    }
}

/// The first word behind every `;`, `{` and `}` of some lines.
fn assert_directives_accounted_for(
    plan: &Plan,
    file: &str,
    text: &str,
    lines: std::ops::RangeInclusive<usize>,
) {
    for (index, line) in text.lines().enumerate().filter(|(index, _)| lines.contains(&(index + 1)))
    {
        let line = line.split('#').next().unwrap_or_default();
        for part in line.split([';', '{', '}']) {
            let name = part.split_whitespace().next().unwrap_or_default().trim_matches(['\'', '"']);
            if !name.is_empty() && name != "location" {
                assert_line_told(plan, file, index + 1, name);
            }
        }
    }
}

#[test]
fn every_setting_of_the_documented_installation_is_accounted_for() {
    let plan = plan(&documented(), &with_portal());
    assert_eq!(problems(&plan), Vec::<String>::new());
    for (file, text) in DOCUMENTED {
        if file.contains(".json") {
            assert_json_accounted_for(&plan, file, text);
        } else if file.ends_with("push-server-multi") {
            assert_variables_accounted_for(&plan, file, text);
        } else if !file.ends_with("nginx.conf") {
            assert_directives_accounted_for(&plan, file, text, 1..=999);
        }
    }
    for (index, line) in PORTAL.lines().enumerate().filter(|(_, line)| line.contains("' => '")) {
        let name = line.trim().trim_start_matches('\'').split('\'').next().expect("a name");
        assert_line_told(&plan, "/home/bitrix/www/bitrix/.settings.php", index + 1, name);
    }
    let known = plan.findings.list().all(|finding| finding.verdict != Verdict::Unknown);
    assert!(known, "{}", report::text(&plan.findings));
}

#[test]
fn a_container_is_accounted_for() {
    let files = Memory::default().with("/x/push-server-container.json", CONTAINER);
    let sources = Sources { configs: Some("/x".into()), ..Sources::default() };
    let plan = plan(&files, &sources);
    assert_eq!(problems(&plan), Vec::<String>::new());
    assert_json_accounted_for(&plan, "/x/push-server-container.json", CONTAINER);
    let config = output(&plan, "/etc/push-sidecar/push-sidecar.toml");
    assert!(config.contains("url = \"redis://redis:6379\""), "{config}");
    // There were no nginx files: everything comes from us.
    let http = output(&plan, "/etc/nginx/conf.d/bx-push.conf");
    assert!(http.contains("listen 127.0.0.1:8895;") && http.contains("bx_push stat;"), "{http}");
    assert!(
        http.contains("bx_push_message_ttl 43200s;") && http.contains("bx_push_max_payload 2m;"),
        "{http}"
    );
    let locations = output(&plan, "/etc/nginx/snippets/bx-push-locations.conf");
    assert!(
        locations.contains("location /bitrix/subws/ {\n    bx_push sub;\n    access_log off;\n}"),
        "{locations}"
    );
    assert!(output(&plan, "SWITCH.md").contains("include snippets/bx-push-locations.conf;"));
}

#[test]
fn the_documented_files_become_ours() {
    let plan = plan(&documented(), &with_portal());
    assert_eq!(
        output(&plan, "/etc/nginx/bx/conf/im_subscrider.conf"),
        "location ~* ^/bitrix/subws/ {
    bx_push sub;
    access_log off;
}
location ~* ^/bitrix/sub/ {
    bx_push sub;
    access_log off;
}
location ~* ^/bitrix/rest/ {
    bx_push rest;
    client_max_body_size 1m;
    access_log off;
}
"
    );
    assert_eq!(
        output(&plan, "/etc/nginx/bx/site_enabled/rtc.conf"),
        "server {
    listen 127.0.0.1:8895 default_server;
    server_name _;
    access_log off;
    location /server-stat { bx_push stat; access_log off; }
    location /bitrix/pub/ { bx_push pub; client_max_body_size 1m; client_body_buffer_size 1m; access_log off; }
    include bx/conf/im_subscrider.conf;
    location / { deny all; }
}
server {
    listen 8893;
    server_name _;
    add_header Access-Control-Allow-Origin *;
    include bx/conf/im_subscrider.conf;
    location / { deny all; }
}
"
    );
    let maps = output(&plan, "/etc/nginx/bx/conf/nginx-maps-and-upstreams.conf");
    assert!(
        !maps.contains("upstream") && maps.contains("map $http_upgrade $replace_upgrade"),
        "{maps}"
    );
    let nginx = output(&plan, "/etc/nginx/nginx.conf");
    assert!(
        nginx.starts_with("load_module modules/ngx_http_bx_push_module.so;\n# Around"),
        "{nginx}"
    );
    // bx/site_enabled/*.conf is included anyway.
    assert!(!nginx.contains("bx-push.conf"), "{nginx}");
    let http = output(&plan, "/etc/nginx/bx/site_enabled/bx-push.conf");
    assert!(http.contains("bx_push_security_key_file /etc/nginx/bx-push.key;\n"), "{http}");
    assert!(!http.contains("server {"), "{http}");
    assert_eq!(output(&plan, "/etc/nginx/bx-push.key"), format!("{KEY}\n"));
    for output in &plan.outputs {
        let expected =
            if output.path.extension().is_some_and(|e| e == "key") { 0o640 } else { 0o644 };
        assert_eq!(output.mode, expected, "{}", output.path.display());
    }
}

/// What the sidecar gets is read by itself.
#[test]
fn the_daemons_file_is_what_it_reads() {
    let plan = plan(&documented(), &with_portal());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("push-sidecar.toml");
    std::fs::write(&file, output(&plan, "/etc/push-sidecar/push-sidecar.toml")).expect("written");
    let config = Config::load(Some(&file), |_| None).expect("read");
    config.check().expect("usable");
    assert_eq!(config.redis.url, "unix:///var/run/redis/redis.sock");
    assert_eq!((&config.socket_group[..], config.storage.channel_ttl), ("www-data", 86_400));
}

#[test]
fn the_key_is_in_its_file_and_nowhere_else() {
    for sources in [with_portal(), Sources::default()] {
        let files = documented().with(
            "/etc/push-server/push-server-odd-1.json",
            format!("{{\"note\": \"{KEY}\", \"x\": \"x{KEY}\"}}"),
        );
        let plan = plan(&files, &sources);
        assert!(!plan.outputs.is_empty());
        for output in
            plan.outputs.iter().filter(|output| output.path.extension().is_none_or(|e| e != "key"))
        {
            let text = String::from_utf8_lossy(&output.bytes);
            assert!(!text.contains(KEY), "{}", output.path.display());
        }
        assert!(report::text(&plan.findings).contains("(66 characters, not shown)"));
    }
}

/// The other installation of the samples: other spellings, other places, settings that disagree.
fn field() -> (Disk, Plan) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/samples/field");
    let disk = Disk::new(&root);
    let plan = plan(&disk, &Sources::default());
    assert_eq!(problems(&plan), Vec::<String>::new());
    (disk, plan)
}

#[test]
fn every_setting_of_an_older_installation_is_accounted_for() {
    let (disk, plan) = field();
    let read = |path: &str| {
        String::from_utf8(disk.read(Path::new(path)).expect("read").bytes).expect("UTF-8")
    };
    for path in disk.glob(Path::new("/etc/push-server/*.json")) {
        let path = path.to_str().expect("UTF-8");
        assert_json_accounted_for(&plan, path, &read(path));
    }
    let path = "/etc/default/push-server-multi";
    assert_variables_accounted_for(&plan, path, &read(path));
    for (path, lines) in [
        ("/etc/nginx/push-upstreams.conf", 1..=99),
        ("/etc/nginx/snippets/push-proxy.conf", 1..=99),
        ("/etc/nginx/sites-enabled/push", 1..=99),
        ("/etc/nginx/sites-enabled/portal", 5..=18),
    ] {
        assert_directives_accounted_for(&plan, path, &read(path), lines);
    }
}

#[test]
fn what_disagrees_is_told_and_decided() {
    let (_, plan) = field();
    let one = |file: &str, line: usize, text: &str| {
        let told = told(&plan, file, line);
        assert!(told.iter().any(|told| told.contains(text)), "{file}:{line}: {told:#?}");
    };
    let (script, publishing) =
        ("/etc/default/push-server-multi", "/etc/push-server/push-server-pub-9010.json");
    one(script, 6, "obsolete: ID_SUB = 3 -> set again in line 7: the last one counts");
    one(script, 12, "RUN_DIR = /var/log/push-server/run");
    one(
        script,
        17,
        "dangerous: REDIS_SOCK = /tmp/redis.sock -> not where the processes keep their messages",
    );
    one(
        publishing,
        15,
        "storage.onlineTTL = 60 -> storage.online_ttl = 120: /etc/push-server/push-server-sub-8010.json:6 has more",
    );
    one(
        "/etc/push-server/push-server-sub-8011.json",
        8,
        "bx_push_max_connections_per_channel 200; in the locations with bx_push sub",
    );
    one(
        "/etc/nginx/sites-enabled/portal",
        18,
        "dangerous: location /bitrix/pub/ -> on a public address",
    );
    one("/etc/nginx/sites-enabled/push", 3, "listen [::1]:8895 ipv6only=on; instead");
    let portal = output(&plan, "/etc/nginx/sites-enabled/portal");
    assert!(
        portal.contains("location /bitrix/pub/ { bx_push pub; bx_push_max_payload 2m;"),
        "{portal}"
    );
    assert!(portal.contains("allow 127.0.0.1; allow ::1; deny all; }"), "{portal}");
    assert!(
        portal.contains("proxy_pass http://127.0.0.1:8888;"),
        "the portal itself stays: {portal}"
    );
    let nginx = output(&plan, "/etc/nginx/nginx.conf");
    assert!(
        nginx.contains("http {\n    include conf.d/bx-push.conf;\n    large_client"),
        "{nginx}"
    );
    let http = output(&plan, "/etc/nginx/conf.d/bx-push.conf");
    assert!(!http.contains("large_client_header_buffers"), "twice is an error: {http}");
    assert!(http.contains("bx_push_signature_algorithm sha256;"), "{http}");
}

#[test]
fn two_keys_are_both_accepted_and_told() {
    let other = DOCUMENTED[2].1.replace(KEY, &KEY.replace("Example", "Another"));
    let plan = plan(&documented().with(DOCUMENTED[2].0, other), &Sources::default());
    assert_eq!(output(&plan, "/etc/nginx/bx-push.key"), format!("{KEY}\n"));
    let second = output(&plan, "/etc/nginx/bx-push-2.key");
    assert_eq!(second.trim_end(), KEY.replace("Example", "Another"));
    let http = output(&plan, "/etc/nginx/bx/site_enabled/bx-push.conf");
    assert!(http.contains("bx_push_security_key_file /etc/nginx/bx-push-2.key;\n"), "{http}");
    let told = told(&plan, DOCUMENTED[2].0, 24);
    assert!(told.iter().any(|text| text.contains("is not the key of")), "{told:#?}");
}

#[test]
fn a_folder_with_copies_of_all_files_will_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/samples/documented");
    let disk = Disk::new(&folder);
    let sources = Sources {
        start_script: Some("/push-server-multi".into()),
        configs: Some("/".into()),
        nginx: Some("/".into()),
        portal: Some("/settings.php".into()),
    };
    let plan = plan(&disk, &sources);
    assert_eq!(problems(&plan), Vec::<String>::new());
    for name in ["container", "pub-9010", "sub-8010"] {
        let file = format!("/push-server-{name}.json");
        let text = disk.read(Path::new(&file)).expect("read").bytes;
        assert_json_accounted_for(&plan, &file, std::str::from_utf8(&text).expect("UTF-8"));
    }
    // One of them has another Redis.
    let other = told(&plan, "/push-server-sub-8010.json", 17).concat();
    assert!(
        other.contains("dangerous: storage.socket") && other.contains("another Redis than"),
        "{other}"
    );
    assert!(output(&plan, "SWITCH.md").contains("nginx.conf was not among the files"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is done to the files, there is an answer, and the key is not in it.
    #[test]
    fn spoilt_files_have_an_answer(
        cuts in proptest::collection::vec((0..8_usize, 0..3000_usize, 0..40_usize, "[{}\"';=$(#\\[\\],: \n0]{0,3}"), 1..4),
    ) {
        let mut files = documented();
        let paths: Vec<_> = files.0.keys().cloned().collect();
        for (file, at, len, text) in cuts {
            let File { bytes, .. } = files.0.get_mut(&paths[file % paths.len()]).expect("there");
            let at = at.min(bytes.len());
            let end = (at + len).min(bytes.len());
            bytes.splice(at..end, text.into_bytes());
        }
        let plan = plan(&files, &with_portal());
        prop_assert!(!report::text(&plan.findings).contains(KEY));
        prop_assert_eq!(plan.outputs.is_empty(), plan.findings.problems().next().is_some());
    }
}
