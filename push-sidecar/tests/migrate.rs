//! `push-sidecar migrate`, the program: what it prints, what it writes, and what it leaves alone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const KEY: &str = "ExampleKey0ExampleKey1ExampleKey2ExampleKey3ExampleKey4ExampleKey5";

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/samples")
}

/// A copy of the documented installation, in its places.
fn installation() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    for (from, to) in [
        ("documented/push-server-multi", "etc/sysconfig/push-server-multi"),
        ("documented/push-server-pub-9010.json", "etc/push-server/push-server-pub-9010.json"),
        ("documented/push-server-sub-8010.json", "etc/push-server/push-server-sub-8010.json"),
        ("nginx.conf", "etc/nginx/nginx.conf"),
        (
            "documented/nginx-maps-and-upstreams.conf",
            "etc/nginx/bx/conf/nginx-maps-and-upstreams.conf",
        ),
        ("documented/im_subscrider.conf", "etc/nginx/bx/conf/im_subscrider.conf"),
        ("documented/rtc.conf", "etc/nginx/bx/site_enabled/rtc.conf"),
    ] {
        let to = root.path().join(to);
        fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        fs::copy(samples().join(from), to).expect("copied");
    }
    root
}

fn migrate(root: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_push-sidecar"));
    command.arg("migrate").arg("--root").arg(root).args(args).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Every file below a folder: content, mode, time of the last change.
fn everything(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32, i64)> {
    let mut all = BTreeMap::new();
    for entry in
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path())
    {
        if entry.is_dir() {
            all.extend(everything(&entry));
        } else {
            let meta = fs::metadata(&entry).expect("its data");
            all.insert(
                entry.clone(),
                (fs::read(&entry).expect("read"), meta.mode(), meta.mtime_nsec()),
            );
        }
    }
    all
}

#[test]
fn without_write_it_prints_and_writes_nothing() {
    let root = installation();
    let before = everything(root.path());
    for args in [&[][..], &["--dry-run"]] {
        let output = migrate(root.path(), args);
        let told = text(&output.stdout);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(told.contains("/etc/sysconfig/push-server-multi:21: translated: SECURITY_KEY = (66 characters, not shown)"), "{told}");
        assert!(
            told.contains(
                "==> DIR/etc/nginx/bx-push.key (mode 0640)\n(66 characters, not shown)\n"
            ),
            "{told}"
        );
        assert!(told.contains("==> DIR/ROLLBACK.md"), "{told}");
        assert!(!told.contains(KEY));
    }
    assert_eq!(everything(root.path()), before);
}

#[test]
fn written_files_have_their_modes_and_the_old_ones_stay() {
    let root = installation();
    let before = everything(root.path());
    let folder = tempfile::tempdir().expect("a folder");
    let new = folder.path().join("new");
    let to = new.to_str().expect("UTF-8");
    let output = migrate(root.path(), &["--write", to]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(everything(root.path()), before, "the old installation was touched");
    let written = everything(&new);
    let names: Vec<_> = written
        .keys()
        .map(|path| path.strip_prefix(&new).expect("below").to_str().expect("UTF-8"))
        .collect();
    assert_eq!(
        names,
        [
            "REPORT.txt",
            "ROLLBACK.md",
            "SWITCH.md",
            "etc/nginx/bx/conf/im_subscrider.conf",
            "etc/nginx/bx/conf/nginx-maps-and-upstreams.conf",
            "etc/nginx/bx/site_enabled/bx-push.conf",
            "etc/nginx/bx/site_enabled/rtc.conf",
            "etc/nginx/bx-push.key",
            "etc/nginx/nginx.conf",
            "etc/push-sidecar/push-sidecar.toml",
        ]
    );
    for (path, (content, mode, _)) in &written {
        let is_key = path.ends_with("bx-push.key");
        assert_eq!(mode & 0o777, if is_key { 0o640 } else { 0o644 }, "{}", path.display());
        assert_eq!(text(content).contains(KEY), is_key, "{}", path.display());
    }
    assert_eq!(fs::metadata(&new).expect("its data").mode() & 0o777, 0o700);

    // Not a second time, but with --force.
    fs::write(new.join("SWITCH.md"), "mine").expect("written");
    let output = migrate(root.path(), &["--write", to]);
    assert!(!output.status.success());
    let told = text(&output.stderr);
    assert!(
        told.contains("bx-push.key: is there already; --force replaces it, or give another folder"),
        "{told}"
    );
    assert_eq!(fs::read_to_string(new.join("SWITCH.md")).expect("read"), "mine");
    fs::set_permissions(new.join("etc/nginx/bx-push.key"), fs::Permissions::from_mode(0o666))
        .expect("set");
    let output = migrate(root.path(), &["--write", to, "--force"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let again: Vec<_> = everything(&new)
        .into_iter()
        .map(|(path, (content, mode, _))| (path, content, mode))
        .collect();
    let first: Vec<_> =
        written.into_iter().map(|(path, (content, mode, _))| (path, content, mode)).collect();
    assert_eq!(again, first);
}

#[test]
fn the_old_installation_cannot_be_written_to() {
    let root = installation();
    let before = everything(root.path());
    let linked = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(root.path().join("etc"), linked.path().join("etc")).expect("a link");
    for folder in [root.path(), linked.path()] {
        for force in [&[][..], &["--force"]] {
            let mut args = vec!["--write", folder.to_str().expect("UTF-8")];
            args.extend(force);
            let output = migrate(root.path(), &args);
            assert!(!output.status.success());
            let told = text(&output.stderr);
            assert!(
                told.contains("belongs to the old installation, which is not touched"),
                "{told}"
            );
        }
    }
    assert_eq!(everything(root.path()), before);
}

/// The commands of a file's steps that handle files, below `root` instead of `/`.
fn file_commands(steps: &str, root: &Path) -> String {
    let handles =
        |line: &&str| ["cp ", "install ", "mkdir ", "rm "].iter().any(|c| line.starts_with(c));
    let root = root.to_str().expect("UTF-8");
    let lines: Vec<_> = steps
        .lines()
        .filter(handles)
        // Only root may give files away, and to a group that a test's machine may lack.
        .map(|line| line.replace("-o root -g www-data ", ""))
        .map(|line| {
            line.replace(" /etc/", &format!(" {root}/etc/"))
                .replace(" /var/", &format!(" {root}/var/"))
        })
        .collect();
    lines.join("\n")
}

fn shell(folder: &Path, commands: &str) {
    let output = Command::new("bash")
        .args(["-euc", commands])
        .current_dir(folder)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{commands}: {}", text(&output.stderr));
}

#[test]
fn the_steps_switch_and_go_back_to_the_byte() {
    let root = installation();
    // A site as Debian has it: a link, which has to stay one.
    let nginx = root.path().join("etc/nginx");
    fs::create_dir_all(nginx.join("sites-available")).expect("made");
    let available = nginx.join("sites-available/rtc");
    fs::rename(nginx.join("bx/site_enabled/rtc.conf"), &available).expect("moved");
    let enabled = nginx.join("bx/site_enabled/rtc.conf");
    std::os::unix::fs::symlink("/etc/nginx/sites-available/rtc", &enabled).expect("a link");
    let new = tempfile::tempdir().expect("a folder");
    let output = migrate(root.path(), &["--write", new.path().to_str().expect("UTF-8")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // In the test's folder the link has to lead there.
    fs::remove_file(&enabled).expect("removed");
    std::os::unix::fs::symlink(&available, &enabled).expect("a link");
    let contents = || {
        everything(&root.path().join("etc"))
            .into_iter()
            .map(|(path, (content, mode, _))| (path, content, mode))
    };
    let before: Vec<_> = contents().collect();
    let steps = |name: &str| {
        file_commands(&fs::read_to_string(new.path().join(name)).expect("read"), root.path())
    };

    // Somebody who is not sure does it twice.
    shell(new.path(), &steps("SWITCH.md"));
    shell(new.path(), &steps("SWITCH.md"));
    for (path, (content, ..)) in everything(&new.path().join("etc")) {
        let installed =
            root.path().join("etc").join(path.strip_prefix(new.path().join("etc")).expect("below"));
        assert_eq!(fs::read(&installed).expect("installed"), content, "{}", installed.display());
    }
    assert!(fs::symlink_metadata(&enabled).expect("there").is_symlink());
    let key = fs::metadata(nginx.join("bx-push.key")).expect("installed");
    assert_eq!(key.mode() & 0o777, 0o640);

    shell(new.path(), &steps("ROLLBACK.md"));
    assert_eq!(contents().collect::<Vec<_>>(), before);
    assert!(!root.path().join("var/backups/bx-push").exists());
    assert!(fs::symlink_metadata(&enabled).expect("there").is_symlink());
}

#[test]
fn problems_end_it_with_a_status_and_without_files() {
    let root = installation();
    fs::write(root.path().join("etc/push-server/push-server-sub-8010.json"), "{\"servers\": [}")
        .expect("written");
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().to_str().expect("UTF-8");
    let output = migrate(root.path(), &["--write", to]);
    assert_eq!(output.status.code(), Some(1));
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        out.contains("/etc/push-server/push-server-sub-8010.json:1: a value is missing here"),
        "{out}"
    );
    assert_eq!(
        err,
        "push-sidecar: 1 problem(s) must be mended first, see PROBLEMS in the report; nothing was written\n"
    );
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    let output = migrate(Path::new("/nowhere/at/all"), &[]);
    assert_eq!(text(&output.stderr), "push-sidecar: /nowhere/at/all: no such folder (--root)\n");
}

#[test]
fn paths_are_options() {
    let root = installation();
    let moved = root.path().join("copies");
    fs::rename(root.path().join("etc"), &moved).expect("moved");
    let args = [
        "--sysconfig",
        "/copies/sysconfig/push-server-multi",
        "--configs",
        "copies/push-server",
        "--nginx",
        "/copies/nginx/nginx.conf",
    ];
    let output = migrate(root.path(), &args);
    assert!(output.status.success(), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains(
        "/copies/nginx/bx/site_enabled/rtc.conf:2: dangerous: listen 8895 default_server"
    ));
}

#[test]
fn help_tells_every_option() {
    let output = Command::new(env!("CARGO_BIN_EXE_push-sidecar"))
        .args(["migrate", "--help"])
        .output()
        .expect("it runs");
    let told = text(&output.stdout);
    for option in [
        "--root",
        "--sysconfig",
        "--configs",
        "--nginx",
        "--portal",
        "--dry-run",
        "--write",
        "--force",
    ] {
        assert!(told.contains(option), "{told}");
    }
}
