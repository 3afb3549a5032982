//! Scenarios against the floor, as processes: what they print, write and exit with.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

const BENCH: &str = env!("CARGO_BIN_EXE_push-bench");

/// A running floor.
struct Floor {
    child: Child,
    url: String,
}

impl Floor {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(options: &[&str]) -> Self {
        let mut child = Command::new(BENCH)
            .args(["floor", "--listen", "127.0.0.1:0"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let (_, url) = line.trim().split_once("floor listens on ").unwrap();
        let url = url.to_owned();
        Self { child, url }
    }

    fn run(&self, words: &str) -> Output {
        let pid = self.child.id().to_string();
        run(&self.url, &format!("{words} --pids {pid}"))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(url: &str, words: &str) -> Output {
    Command::new(BENCH)
        .args(words.split(' '))
        .args(["--public", url, "--internal", url, "--time-limit", "30"])
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr);
    String::from_utf8_lossy(&output.stdout).into_owned() + &err
}

#[test]
fn a_fanout_arrives_everywhere_once_in_order() {
    let floor = Floor::start();
    for wire in ["binary", "text"] {
        let words = format!("fanout -n 50 -m 20 --bystanders 5 --wire {wire} --key secret");
        let output = floor.run(&words);
        let table = text(&output);
        assert!(output.status.success(), "{table}");
        assert!(table.contains("good; "), "{table}");
        assert!(table.contains("latency of a delivery, p99"), "{table}");
        assert!(table.contains("CPU per delivery, all"), "{table}");
    }
}

#[test]
fn a_floor_speaks_tls() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("a.crt"), dir.path().join("a.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let floor = Floor::start_with(&["--tls-certificate", certificate, "--tls-key", key]);
    assert!(floor.url.starts_with("https://"));
    let output = floor.run("fanout -n 20 -m 10 --body 20000");
    let table = text(&output);
    assert!(output.status.success(), "{table}");
    assert!(table.contains("200 of 200 delivered"), "{table}");
}

/// A server that answers once and then only holds.
#[test]
fn connections_are_held_after_their_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut line = String::new();
            BufReader::new(client.try_clone().unwrap()).read_line(&mut line).unwrap();
            assert!(!line.contains("Upgrade"), "{line}");
            client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld").unwrap();
            held.push(client);
        }
    });
    let output = run(&url, "idle -n 20 --steps 1 --settle 0.1 --once --hold");
    let table = text(&output);
    assert!(output.status.success(), "{table}");
    assert!(table.contains("handshakes per second"), "{table}");
}

#[test]
fn idle_measures_memory_of_the_processes_given() {
    let floor = Floor::start();
    let output = floor.run("idle -n 200 --steps 2 --settle 0.1");
    let table = text(&output);
    assert!(output.status.success(), "{table}");
    assert!(table.contains("memory each, all but redis, PSS"), "{table}");
    assert!(table.contains("handshakes per second"), "{table}");
}

#[test]
fn two_targets_are_compared_and_written_as_json() {
    let (a, b) = (Floor::start(), Floor::start());
    let file = std::env::temp_dir().join(format!("push-bench-{}.json", std::process::id()));
    let vs = format!("--name other --public {0} --internal {0}", b.url);
    let output = Command::new(BENCH)
        .args("unicast -n 20 --rate 500 --duration 0.5 --seed 7".split(' '))
        .args(["--public", &a.url, "--internal", &a.url, "--vs", &vs, "--json"])
        .arg(&file)
        .output()
        .unwrap();
    let table = text(&output);
    assert!(output.status.success(), "{table}");
    assert!(table.contains("ratio"), "{table}");
    let json = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let targets: Vec<_> = json.as_array().unwrap().iter().map(|one| &one["target"]).collect();
    assert_eq!(targets, ["push", "other"]);
    for report in json.as_array().unwrap() {
        assert_eq!(report["seed"], 7);
        assert_eq!(report["verdict"]["lost"], 0);
        assert_eq!(report["verdict"]["published"], report["verdict"]["delivered"]);
        assert!(report["verdict"]["published"].as_u64().unwrap() >= 200);
    }
}

/// What returns with an id is not recovered by a floor, and that must be seen.
#[test]
fn losses_are_told_and_the_exit_status_says_so() {
    let floor = Floor::start();
    let output = floor.run("reconnect -n 5 --shared 2 --own 0");
    let table = text(&output);
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(table.contains("BAD; 2 published, 0 of 10 delivered, 10 lost"), "{table}");
}

/// Delivers each message twice, the second time in front of the first one's successor.
#[test]
fn doubles_are_told() {
    let floor = Floor::start();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let upstream = floor.url.trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        for client in proxy.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&upstream).unwrap());
            let (mut to_server, mut from_client) =
                (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            std::thread::spawn(move || repeat_frames(server, client));
        }
    });
    let words = format!("fanout -n 2 -m 3 --internal {}", floor.url);
    let output =
        Command::new(BENCH).args(words.split(' ')).args(["--public", &url]).output().unwrap();
    let table = text(&output);
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(table.contains("6 of 6 delivered, 0 lost, 6 doubled"), "{table}");
}

/// Passes bytes on; what looks like a binary frame goes twice. One read is one frame here, as
/// messages come one at a time.
fn repeat_frames(mut server: TcpStream, mut client: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = server.read(&mut buffer) {
        let times = if buffer[0] == 0x82 { 2 } else { 1 };
        for _ in 0..times {
            if client.write_all(&buffer[..len]).is_err() {
                return;
            }
        }
    }
}

#[test]
fn only_this_machine_is_a_target() {
    let output = run("http://192.0.2.1:80", "fanout -n 1");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("not a loopback address"));
}
