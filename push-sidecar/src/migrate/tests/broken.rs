//! What is broken or odd gets a clear message.

use super::*;

const SCRIPT: &str = "/etc/sysconfig/push-server-multi";
const PUB: &str = "/etc/push-server/push-server-pub-9010.json";
const SUB: &str = "/etc/push-server/push-server-sub-8010.json";
const RTC: &str = "/etc/nginx/bx/site_enabled/rtc.conf";
const PUBLIC: &str = "/etc/nginx/bx/conf/im_subscrider.conf";

/// The documented installation with one file changed.
fn changed(file: &str, from: &str, to: &str) -> Memory {
    let files = documented();
    let text = String::from_utf8(files.0[Path::new(file)].bytes.clone()).expect("UTF-8");
    assert!(text.contains(from), "{file} has no {from}");
    files.with(file, text.replacen(from, to, 1))
}

/// Nothing can be made of these: what is changed in which file, and what is said.
#[test]
fn what_is_broken_stops_it_with_a_clear_message() {
    let cases: [(&str, &str, &str, &str); 24] = [
        (
            SCRIPT,
            "REDIS_SOCK=/var",
            "REDIS_SOCK='/var",
            "/etc/sysconfig/push-server-multi:23: the single quote that is opened here is never closed: what follows cannot be told apart",
        ),
        (
            SCRIPT,
            "Key5\"",
            "Key5",
            "/etc/sysconfig/push-server-multi:21: the double quote that is opened here is never closed: what follows cannot be told apart",
        ),
        (
            SCRIPT,
            &format!("\"{KEY}\""),
            "$(cat /root/key)",
            "/etc/sysconfig/push-server-multi:21: SECURITY_KEY is the output of a command, which only a shell can tell: write its value there, in a copy of the file",
        ),
        (
            SCRIPT,
            &format!("\"{KEY}\""),
            "$KEY",
            "/etc/sysconfig/push-server-multi:21: SECURITY_KEY is a variable that is not set above, which only a shell can tell: write its value there, in a copy of the file",
        ),
        (
            SCRIPT,
            "Key5\"",
            "Key5 \"",
            "/etc/sysconfig/push-server-multi:21: SECURITY_KEY cannot be kept in a key file: a key is one line of at most 4096 bytes without a blank at its end. Set another key here and in the portal first",
        ),
        (
            PUB,
            "\"port\": 9010,",
            "\"port\": 9010",
            "/etc/push-server/push-server-pub-9010.json:6: a comma is missing here",
        ),
        (
            PUB,
            "\"trustProxy\": true",
            "\"trustProxy\": true,",
            "/etc/push-server/push-server-pub-9010.json:43: a comma too many: nothing follows it",
        ),
        (
            PUB,
            "\"publishMode\": true",
            "publishMode: true",
            "/etc/push-server/push-server-pub-9010.json:15: a name in double quotes is missing here",
        ),
        (
            PUB,
            "\"publishMode\": true",
            "'publishMode': true",
            "/etc/push-server/push-server-pub-9010.json:15: JSON wants double quotes, not single ones",
        ),
        (
            PUB,
            "\"publishMode\": true",
            "// \"publishMode\": true",
            "/etc/push-server/push-server-pub-9010.json:15: JSON has no comments: take it out",
        ),
        (
            PUB,
            "\"redis\"",
            "redis",
            "/etc/push-server/push-server-pub-9010.json:19: a text must stand in double quotes",
        ),
        (
            PUB,
            "\"redis\"",
            "\"redis",
            "/etc/push-server/push-server-pub-9010.json:19: the double quote is not closed in this line",
        ),
        (
            PUB,
            "100,",
            "0100,",
            "/etc/push-server/push-server-pub-9010.json:31: not a number as JSON has them",
        ),
        (
            PUB,
            "        \"trustProxy\": true\n    }\n}\n",
            "",
            "/etc/push-server/push-server-pub-9010.json:42: the file ends in the middle: a closing bracket is missing",
        ),
        (
            PUB,
            DOCUMENTED[1].1,
            "",
            "/etc/push-server/push-server-pub-9010.json:1: the file is empty",
        ),
        (
            PUB,
            DOCUMENTED[1].1,
            "[]",
            "/etc/push-server/push-server-pub-9010.json:1: not a configuration of push-server: the file must hold an object { … }",
        ),
        (
            PUB,
            "{",
            "\u{feff}{",
            "/etc/push-server/push-server-pub-9010.json:1: the file begins with a byte order mark, which Node.js refuses: save it without",
        ),
        (
            SUB,
            &format!("\"{KEY}\""),
            "42",
            "/etc/push-server/push-server-sub-8010.json:24: security.key is not a text: write it in double quotes",
        ),
        (
            SUB,
            "\"key\"",
            "\"algo\": \"md5\", \"key\"",
            "/etc/push-server/push-server-sub-8010.json:24: security.algo \"md5\" is not served: portals sign with sha1, sha256 or sha512. Set signature_algo in the portal first, and the same here",
        ),
        (
            RTC,
            "{ deny all; }\n}\n",
            "{ deny all; }\n",
            "/etc/nginx/bx/site_enabled/rtc.conf:1: the block that is opened here is never closed: \"}\" is missing",
        ),
        (
            PUBLIC,
            "access_log off;\n    proxy_pass",
            "access_log off\n    }proxy_pass",
            "/etc/nginx/bx/conf/im_subscrider.conf:2: \"access_log\" is not ended by \";\"",
        ),
        (
            PUBLIC,
            "rewrite",
            "\"rewrite",
            "/etc/nginx/bx/conf/im_subscrider.conf:12: the quote that is opened here is never closed",
        ),
        (
            RTC,
            "server {",
            "}\nserver {",
            "/etc/nginx/bx/site_enabled/rtc.conf:1: \"}\" closes nothing",
        ),
        (
            RTC,
            "proxy_ignore_client_abort on;",
            "bx_push pub;",
            "/etc/nginx/bx/site_enabled/rtc.conf:6: directives of bx_push: these files have been moved already. Give those of the old installation (--nginx), as they were before",
        ),
    ];
    for (file, from, to, expected) in cases {
        let plan = plan(&changed(file, from, to), &Sources::default());
        assert!(
            problems(&plan).contains(&expected.to_owned()),
            "{from} -> {to}: {:#?}",
            problems(&plan)
        );
        assert!(plan.outputs.is_empty(), "{to}: written all the same");
        assert!(report::text(&plan.findings).contains(expected), "{to}");
    }
}

/// Something is made of these, and it is said what: verdict, setting, message.
#[test]
fn what_is_odd_is_told_with_a_clear_message() {
    let cases: [(&str, &str, &str, usize, &str); 29] = [
        (
            SCRIPT,
            "ID_SUB=5",
            "ID_SUB = 5",
            10,
            "unknown: not a setting -> a blank in front of \"=\" sets nothing: write ID_SUB=VALUE",
        ),
        (
            SCRIPT,
            "ID_SUB=5",
            "ID_SUB= 5",
            10,
            "unknown: not a setting -> a blank behind \"ID_SUB=\" leaves ID_SUB empty: write ID_SUB=VALUE",
        ),
        (
            SCRIPT,
            "ID_SUB=5",
            "ID_SUB: 5",
            10,
            "unknown: not a setting -> not an assignment: a shell wants NAME=VALUE, not a colon",
        ),
        (
            SCRIPT,
            "ID_SUB=5",
            "source /etc/x",
            10,
            "unknown: not a setting -> not an assignment: commands are not executed, so that what they set is not known",
        ),
        (
            SCRIPT,
            "ID_SUB=5",
            "ID_SUB=five",
            10,
            "dangerous: ID_SUB = five -> not a number: push-server's start script can make no ports of it. Nothing depends on it here",
        ),
        (
            SCRIPT,
            "ID_SUB=5",
            "NODE_ENV=production",
            10,
            "unknown: NODE_ENV = production -> not a setting of push-server's start script: nothing is made of it",
        ),
        (
            SCRIPT,
            "HG_DIR=/opt/push-server\n",
            "HG_DIR=/opt/push-server\r\n",
            1,
            "unknown: not a setting -> lines end with CR LF: bash takes the CR for a part of the value, and so may the running server; here it is left out",
        ),
        (
            SCRIPT,
            "PUBPATH=/bitrix",
            "PUBPATH=bitrix",
            17,
            "dangerous: PUBPATH = bitrix/pub/ -> not a path: it must begin with \"/\". nginx's locations are taken as they are",
        ),
        (
            SCRIPT,
            "WS_HOST=127.0.0.1",
            "WS_HOST=",
            15,
            "dangerous: WS_HOST =  -> the old server listens on all interfaces: whoever reaches its ports may publish to everybody. Here nginx listens, for /bitrix/pub/ on 127.0.0.1",
        ),
        (
            SCRIPT,
            &format!("\"{KEY}\""),
            "",
            21,
            "dangerous: SECURITY_KEY = (0 characters, not shown) -> an empty key: everybody could sign; push-server makes one up at its start instead, which the portal does not know. Nothing is taken from here",
        ),
        (
            SCRIPT,
            &format!("\"{KEY}\""),
            "short",
            21,
            "dangerous: SECURITY_KEY = (5 characters, not shown) -> less than 32 characters can be found by trying: after the move take a key of 128 Latin letters and digits, here and in the portal",
        ),
        (
            SCRIPT,
            "Key5\"",
            "Key-5\"",
            21,
            "dangerous: SECURITY_KEY = (67 characters, not shown) -> has characters other than Latin letters and digits, which not every installation reads the same: compare it with signature_key of the portal",
        ),
        (
            PUB,
            "1048576",
            "0",
            30,
            "dangerous: limits.maxPayload = 0 -> makes no sense: 1024 to 33554432 do. bx_push_max_payload stays at its default, 1m",
        ),
        (
            PUB,
            "1048576",
            "\"1m\"",
            30,
            "dangerous: limits.maxPayload = \"1m\" -> makes no sense: 1024 to 33554432 do. bx_push_max_payload stays at its default, 1m",
        ),
        (
            PUB,
            "1048576",
            "1e99",
            30,
            "dangerous: limits.maxPayload = 1e99 -> makes no sense: 1024 to 33554432 do. bx_push_max_payload stays at its default, 1m",
        ),
        (
            PUB,
            "1048576",
            "104857600",
            30,
            "dangerous: limits.maxPayload = 104857600 -> more than bx_push_max_payload takes: bx_push_max_payload 32m; in the locations with bx_push pub and bx_push rest. What is larger was taken until now, and is refused",
        ),
        (
            PUB,
            "\"maxMessagesPerRequest\": 100",
            "\"maxMessagesPerRequest\": -1",
            32,
            "dangerous: limits.maxMessagesPerRequest = -1 -> makes no sense: 1 to 10000 do. bx_push_max_messages_per_request stays at its default, 100",
        ),
        (
            PUB,
            "\"messageTLL\": 86400",
            "\"messageTLL\": 3600",
            21,
            "obsolete: storage.messageTLL = 3600 -> misspelt for messageTTL, so that push-server never read it: 1d is in force, and stays so; if 3600s was meant: bx_push_message_ttl 3600s;",
        ),
        (
            PUB,
            "127.0.0.1",
            "0.0.0.0",
            6,
            "dangerous: servers[0].hostname = \"0.0.0.0\" -> an address for others: whoever reaches the port may publish to everybody. Here nginx listens, for /bitrix/pub/ on 127.0.0.1; push-server listens on all interfaces whatever is set here, so that until it is stopped its port must be closed to others",
        ),
        (
            PUB,
            "\"port\": 9010",
            "\"port\": 90100",
            5,
            "dangerous: servers[0].port = 90100 -> not a port: 1 to 65535 are. No port is needed here",
        ),
        (
            PUB,
            "\"socket\": \"/var/run/redis/redis.sock\"",
            "\"host\": \"10.0.0.9\"",
            20,
            "dangerous: storage.host = \"10.0.0.9\" -> redis.url = \"redis://10.0.0.9:6379\": a Redis on TCP without a password, so that whoever reaches its port can read and write all messages. Use a Unix socket, or requirepass with redis://:PASSWORD@… after the move (push-server 0.4.0 knows no password)",
        ),
        (
            SUB,
            "/var/run/redis/redis.sock",
            "/tmp/redis.sock",
            17,
            "dangerous: storage.socket = \"/tmp/redis.sock\" -> another Redis than /etc/push-server/push-server-pub-9010.json:20 has, unix:///var/run/redis/redis.sock, which is taken: messages in this one are not found any more. Bring all processes to one Redis first",
        ),
        (
            SUB,
            "\"redis\"",
            "\"memory\"",
            16,
            "dangerous: storage.type = \"memory\" -> not Redis: with this a process keeps its messages for itself. push-sidecar keeps them in memory unless it has redis.url",
        ),
        (
            PUB,
            "\"clusterMode\": true",
            "\"cloudMode\": true",
            17,
            "dangerous: cloudMode = true -> the mode for several tenants is not served: a location has the keys that its configuration names. Give each portal a server block with its own key file",
        ),
        (
            PUB,
            "\"clusterMode\": true",
            "\"publishMode\": false",
            15,
            "obsolete: publishMode = true -> set again in line 17: the last one counts",
        ),
        (
            PUB,
            "\"clusterMode\"",
            "\"clustermode\"",
            17,
            "unknown: clustermode = true -> not a setting of push-server 0.4.0: nothing is made of it",
        ),
        (
            PUBLIC,
            "location ~* ^/bitrix/rest/",
            "location ~* ^/bitrix/(rest|pub)/",
            17,
            "dangerous: location ~* ^/bitrix/(rest|pub)/ -> stays as it is: several roles in one location, which has one here: write a location for each of them first",
        ),
        (
            RTC,
            "include bx/conf/im_subscrider.conf;",
            "include bx/conf/none.conf;",
            7,
            "unknown: include bx/conf/none.conf -> there is no such file: what would be in it is not taken into account",
        ),
        (
            RTC,
            "listen 8895",
            "listen 10.0.0.5:8895",
            2,
            "dangerous: listen 10.0.0.5:8895 default_server -> stays, but whoever reaches this address may publish to everybody: add allow and deny",
        ),
    ];
    for (file, from, to, line, expected) in cases {
        let plan = plan(&changed(file, from, to), &Sources::default());
        let told = told(&plan, file, line);
        assert!(told.contains(&expected.to_owned()), "{from} -> {to}: {told:#?}");
    }
}

#[test]
fn what_is_missing_is_told() {
    let of = |files: &Memory, sources: &Sources| problems(&plan(files, sources));
    let nothing = "found neither push-server-multi (--sysconfig) nor a file push-server-*.json (--configs): nothing to move";
    assert_eq!(of(&Memory::default(), &Sources::default()), [nothing]);
    let mut no_key = changed(SCRIPT, KEY, "");
    for file in [PUB, SUB] {
        let text = String::from_utf8(no_key.0[Path::new(file)].bytes.clone()).expect("UTF-8");
        no_key = no_key.with(file, text.replace(KEY, ""));
    }
    let message = "no security key: SECURITY_KEY is empty or missing, and no push-server-*.json has security.key. Give the portal's .settings.php (--portal), or write signature_key of the portal into a copy of push-server-multi";
    assert_eq!(of(&no_key, &Sources::default()), [message]);
    // The portal knows it.
    let plan = plan(&no_key, &with_portal());
    assert_eq!(problems(&plan), Vec::<String>::new());
    assert_eq!(output(&plan, "/etc/nginx/bx-push.key"), format!("{KEY}\n"));

    let given = |sources: Sources| of(&documented(), &sources);
    let path = |path: &str| Some(PathBuf::from(path));
    assert_eq!(
        given(Sources { start_script: path("/none"), ..Sources::default() }),
        ["/none: cannot be read: No such file or directory"]
    );
    assert_eq!(
        given(Sources { configs: path("/etc/nginx"), ..Sources::default() }),
        ["/etc/nginx: no file push-server-*.json in this folder"]
    );
    assert_eq!(
        given(Sources { nginx: path("/etc/push-server"), ..Sources::default() }),
        [
            "/etc/push-server: no *.conf file in this folder: give nginx.conf, or a folder with nginx's files"
        ]
    );
    assert_eq!(
        given(Sources { portal: path("/none"), ..Sources::default() }),
        ["/none: cannot be read: No such file or directory"]
    );
    let no_pull = documented().with("/s.php", "<?php return array('a' => 1);");
    assert_eq!(
        of(&no_pull, &Sources { portal: path("/s.php"), ..Sources::default() }),
        [
            "/s.php: no section 'pull': the portal's settings of push are in its administration then (module pull). Leave --portal out, and compare signature_key there"
        ]
    );
}

#[test]
fn a_portal_that_does_not_fit_is_told() {
    let file = "/home/bitrix/www/bitrix/.settings.php";
    for (from, to, line, expected) in [
        (
            KEY,
            "Other",
            22,
            "not the server's key (/etc/push-server/push-server-pub-9010.json:27): WebSockets open and are closed with 4010 again and again. Make them equal, in the portal or in the key file",
        ),
        (
            "'sha1'",
            "'sha256'",
            23,
            "not the server's algorithm, sha1: no signature fits. Make them equal",
        ),
        (
            "'4'",
            "'5'",
            16,
            "must be 4, \"Bitrix Push server 2.0\": clients speak another protocol otherwise",
        ),
        (
            "localhost:8895",
            "10.0.0.5:8895",
            13,
            "the portal publishes to another address, 10.0.0.5: there nginx must listen with bx_push pub, for the portal's machines alone (allow, deny)",
        ),
        (
            "/bitrix/rest/",
            "/bitrix/pubweb/",
            14,
            "no location with bx_push rest takes /bitrix/pubweb/: write one, beside the others",
        ),
        ("'push' => 'Y'", "'push' => 'N'", 20, "off: the portal uses no push server"),
    ] {
        let plan = plan(&changed(file, from, to), &with_portal());
        let told = told(&plan, file, line);
        assert!(
            told.iter().any(|text| text.starts_with("dangerous") && text.ends_with(expected)),
            "{to}: {told:#?}"
        );
    }
}

#[test]
fn a_file_that_everybody_reads_is_told() {
    let mut files = documented();
    files.0.get_mut(Path::new(SUB)).expect("there").mode = Some(0o644);
    let plan = plan(&files, &Sources::default());
    assert_eq!(
        told(&plan, SUB, 24)[0],
        "dangerous: file mode 0644 -> everybody on this machine can read the key in this file, and with it listen to every channel: chmod 0640, and change the key after the move"
    );
    assert!(told(&plan, PUB, 27).iter().all(|text| !text.contains("file mode")));
}
