//! P6: a client that died without a word is found. It lives in a network namespace of its own, whose loopback goes down.

use std::process::Command;

use crate::common::patience::output_of;
use crate::common::skip::not_here;

/// Starts a receiver, sends a line, takes the network away, and waits until the receiver has noticed; bounded. `$1` is
/// the binary, `$2` a folder, `$3` the value of `--keepalive`.
const SCRIPT: &str = r#"
ip link set lo up
"$1" --listen 127.0.0.1:4445 --output "$2/out" --keepalive "$3" --log-level debug 2>"$2/log" &
server=$!
trap 'kill -KILL $server' EXIT
until grep -q Listening "$2/log"; do sleep 0.05; done
exec 3<>/dev/tcp/127.0.0.1/4445
echo 'before it died' >&3
until grep -q 'before it died' "$2/out"; do sleep 0.05; done
ip link set lo down
for _ in $(seq 100); do
  grep -q 'Socket cleaned up' "$2/log" && break
  sleep 0.1
done
grep 'Socket cleaned up\|Socket failed' "$2/log"
"#;

fn can_take_a_network_away() -> bool {
    let probe = output_of(Command::new("unshare").args(["-n", "bash", "-c", "ip link set lo up"]));
    probe.is_ok_and(|output| output.status.success())
}

#[test]
fn p6_a_client_that_died_without_a_word_is_found_by_keepalive() {
    if !can_take_a_network_away() {
        return not_here("unshare -n with ip and bash is not possible here (it needs root and iproute2)");
    }
    let folder = std::env::temp_dir().join(format!("lumberjack-keepalive-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let binary = crate::support::receiver::under_test();
    let script = ["-n", "timeout", "15", "bash", "-c", SCRIPT, "bash", &binary];
    let output = output_of(Command::new("unshare").args(script).arg(&folder).arg("1s")).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(said.contains("Socket cleaned up") && said.contains("Socket failed"), "{said}\nthe log: {log}");
}
