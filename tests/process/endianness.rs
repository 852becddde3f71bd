//! Spools of both kinds of processors, made by the program on x86-64 (`spools/little`) and on big-endian MIPS (`spools/big`):
//! a box may move to another board with its card, and dist/test-emulated runs this on either kind.
//!
//! Each took two lines from an IPv4 client, which `unix:/nonexistent/next.sock` has got, and two from an IPv6 one with one
//! between them that was too long, by `--listen 127.0.0.1:PORT,parse=syslog --listen [::1]:PORT --output
//! unix:/nonexistent/next.sock --spool DIR --spool-size 272KiB --max-line 1KiB --mark-gaps`.

use std::fs;
use std::path::Path;

use crate::support::conditions::Dir;
use crate::support::receiver::{Ended, Receiver, Setup};

/// Each with its box, the ports of its clients, and the times of their lines.
const SPOOLS: [(&str, &str, [&str; 2]); 2] = [
    (
        "little",
        "216c488bef52b310292d5499d0d2914c",
        ["2026-11-27T05:15:21.954Z 127.0.0.1:51114", "2026-11-27T05:15:26.646Z [::1]:46464"],
    ),
    (
        "big",
        "13f756f9aeb246b18e08f9cd1f1a128d",
        ["2026-11-27T05:25:35.898Z 127.0.0.1:53744", "2026-11-27T05:25:39.611Z [::1]:56362"],
    ),
];

/// A copy of the spool of this name.
fn spool(dir: &Dir, name: &str) -> String {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/spools").join(name);
    let to = dir.path().join(name);
    fs::create_dir(&to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    dir.file(name)
}

fn text(ended: &Ended) -> String {
    String::from_utf8_lossy(&ended.output).into_owned()
}

#[test]
fn p28_a_spool_of_another_kind_of_processor_is_read_and_whole() {
    let dir = Dir::new();
    for (name, _, [first, second]) in SPOOLS {
        let spool = spool(&dir, name);
        let read = Setup::new(&["read", &spool]).run();
        let expected = [
            format!("1 {first} <34>1 2026-11-27T05:00:00Z gw app 1 - - started\n"),
            format!("2 {first} plain line\n3 {second} from v6 é\n"),
            format!("4 {second} gap lines=1 bytes=2000 why=too-long\n5 {second} after a gap\n"),
        ];
        assert_eq!((text(&read), read.code, &*read.stderr), (expected.concat(), Some(0), ""), "{name}");
        let verified = Setup::new(&["verify", &spool]).run();
        let expected = "0000000000000001.seg: sealed, 5 lines, 512 bytes\nwhole: 5 lines up to number 5\n";
        assert_eq!((text(&verified), verified.code), (expected.to_owned(), Some(0)), "{name}");
    }
}

#[test]
fn p28_where_an_output_was_on_another_kind_of_processor_it_goes_on() {
    let dir = Dir::new();
    for (name, id, _) in SPOOLS {
        let spool = spool(&dir, name);
        let receiver = Receiver::start(&[
            "--listen",
            "127.0.0.1:0",
            "--output",
            "unix:/nonexistent/next.sock",
            "--spool",
            &spool,
            "--take-over",
            id,
            "--drain-timeout",
            "0",
        ]);
        let ended = receiver.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        // Two of the five it had.
        let kept = "keeps 3 lines for unix:/nonexistent/next.sock";
        assert!(ended.stderr.contains(kept), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains(&format!("is that of box {id}")), "{name}: {}", ended.stderr);
    }
}
