//! What the scripts and the Makefile promise to whoever calls them, without a cluster.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A command in the root of the project, with the state of no cluster.
fn command(program: &str, arguments: &[&str]) -> Output {
    let nothing = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(ROOT).env("XDG_STATE_HOME", nothing.path()).stdin(Stdio::null());
    // Of the `make test` that these tests may run in.
    for of_make in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS"] {
        command.env_remove(of_make);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The field of charts/jct/Chart.yaml.
fn of_chart(field: &str) -> String {
    let chart: serde_yaml::Value =
        serde_yaml::from_str(&std::fs::read_to_string(Path::new(ROOT).join("charts/jct/Chart.yaml")).unwrap()).unwrap();
    chart[field].as_str().unwrap().to_owned()
}

#[test]
fn images_are_packed_under_the_tag_that_the_chart_asks_for() {
    let packs = |arguments: &[&str]| text(&command("make", &[&["--dry-run", "images"], arguments].concat()).stdout);
    let version = of_chart("appVersion");
    let of_itself = packs(&[]);
    assert!(of_itself.lines().any(|line| line.ends_with(&format!("target/images {version}"))), "{of_itself}");
    assert!(packs(&["TAG=mine"]).contains("target/images mine"));
}

#[test]
fn arguments_that_a_script_does_not_know_do_nothing() {
    for (script, arguments) in [
        ("scripts/demo.sh", &["--undo", "--help"][..]),
        ("scripts/demo.sh", &["--help"]),
        ("tests/cluster/down.sh", &["--all", "--help"]),
        ("tests/cluster/down.sh", &["jct", "--help"]),
        ("tests/cluster/up.sh", &["jct", "--help"]),
        ("tests/cluster/status.sh", &["jct", "--help"]),
        ("images/push.sh", &["--help"]),
        ("images/build.sh", &["--help"]),
    ] {
        let output = command(script, arguments);
        assert!(!output.status.success(), "{script} {arguments:?}");
        assert!(text(&output.stderr).contains("usage: "), "{script} {arguments:?}: {}", text(&output.stderr));
    }
    // What they do know is understood: there is only no cluster.
    assert!(text(&command("scripts/demo.sh", &["--undo"]).stderr).contains("is not up"));
    assert!(command("tests/cluster/down.sh", &["--all"]).status.success());
}

/// A registry on the loopback, for as long as this lives.
struct Registry {
    process: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Registry {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let configuration = format!(
            "version: 0.1\nlog: {{ level: error }}\nhttp: {{ addr: '{address}' }}\n\
             storage: {{ filesystem: {{ rootdirectory: '{}' }} }}\n",
            folder.path().join("images").display()
        );
        std::fs::write(folder.path().join("config.yml"), configuration).unwrap();
        let process = Command::new("docker-registry")
            .args(["serve", &folder.path().join("config.yml").display().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("no registry is installed: tests/cluster/prerequisites.sh push registry");
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&address).is_err() {
            assert!(Instant::now() < until, "the registry does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { process, address, _folder: folder }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Two images of one small layer, packed as `images/build.sh` packs them.
fn pack(folder: &Path, tag: &str) {
    let script = r#". tests/cluster/lib.sh
        cd "$1"
        for image in operator worker; do
          echo "$image" >"$image.txt"
          tar -cf "$image.layer" "$image.txt"
          image_archive "$1/$image.tar" "docker.io/library/jct-$image:$2" "/$image" "$image.layer"
        done"#;
    let output = command("bash", &["-c", script, "pack", &folder.display().to_string(), tag]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// What the registry has under a reference such as `team/jct-operator:1`.
fn pulled(registry: &Registry, reference: &str) -> serde_json::Value {
    let reference = format!("docker://{}/{reference}", registry.address);
    let output = command("skopeo", &["inspect", "--tls-verify=false", &reference]);
    assert!(output.status.success(), "{reference}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_registry_has_the_images_under_the_names_and_digests_that_are_told() {
    let (registry, folder) = (Registry::start(), tempfile::tempdir().unwrap());
    pack(folder.path(), "1.2.3");
    let target = format!("{}/team", registry.address);
    let images = folder.path().display().to_string();
    let pushed = command("images/push.sh", &[&images, &target, "--dest-tls-verify=false"]);
    assert!(pushed.status.success(), "{}", text(&pushed.stderr));
    let reported = text(&pushed.stdout);
    for (image, key) in [("operator", "image"), ("worker", "workers.image")] {
        let found = pulled(&registry, &format!("team/jct-{image}:1.2.3"));
        let digest = found["Digest"].as_str().unwrap();
        for value in [
            format!("--set {key}.repository={target}/jct-{image} "),
            format!("--set {key}.tag=1.2.3 "),
            format!("--set {key}.digest={digest}\n"),
        ] {
            assert!(reported.contains(&value), "{value} is missing in:\n{reported}");
        }
        pulled(&registry, &format!("team/jct-{image}@{digest}"));
    }

    // Nothing is pushed where something is missing.
    std::fs::remove_file(folder.path().join("worker.tar")).unwrap();
    let target = format!("{}/other", registry.address);
    let refused = command("images/push.sh", &[&images, &target, "--dest-tls-verify=false"]);
    assert!(text(&refused.stderr).contains("worker.tar is not there: make images"), "{}", text(&refused.stderr));
    let nothing = format!("docker://{target}/jct-operator:1.2.3");
    assert!(!command("skopeo", &["inspect", "--tls-verify=false", &nothing]).status.success());
}

#[test]
fn a_push_without_a_registry_says_so_and_builds_nothing() {
    let output = command("make", &["push"]);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(text(&output.stderr).contains("make push REGISTRY="), "{}", text(&output.stderr));
}
