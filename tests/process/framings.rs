//! Framings of the built binary (P21): a listener's own, the default of the others, in a config file, and what is shown.

use std::fs;
use std::io::Write;

use crate::support::conditions::{Dir, until};
use crate::support::receiver::{Receiver, Setup, listens_at};

#[test]
fn p21_each_listener_has_its_framing_and_the_others_the_default() {
    let dir = Dir::new();
    let path = dir.file("framings.conf");
    fs::write(&path, "framing = octet\n").unwrap();
    for args in [
        &["--listen", "127.0.0.1:0", "--framing", "octet", "--listen", "127.0.0.1:0,framing=lines"][..],
        &["--config", &path, "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0,framing=lines"],
    ] {
        let receiver = Receiver::start(args);
        let said = until("both addresses", || {
            let said = receiver.said();
            if said.matches("Listening on").count() == 2 { Ok(said) } else { Err(said) }
        });
        assert!(said.contains(",framing=octet\n"), "{said}");
        let places = said.lines().filter_map(listens_at).collect::<Vec<_>>();
        for (place, sent) in places.iter().zip([&b"8 octet\\no5 later"[..], b"8 lines\n"]) {
            std::net::TcpStream::connect(place).unwrap().write_all(sent).unwrap();
        }
        let ended = receiver.stop();
        ended.assert_clean();
        let mut lines = ended.lines();
        lines.sort_unstable();
        assert_eq!(lines, ["8 lines", "later", "octet\\no"]);
    }
}

#[test]
fn p21_check_shows_what_holds_for_each_listener() {
    let dir = Dir::new();
    let path = dir.file("framings.conf");
    fs::write(&path, "listen = 127.0.0.1:1\nlisten = 127.0.0.1:2,framing=lines # these\nframing = nul\n").unwrap();
    for args in [
        &["--listen", "127.0.0.1:1", "--listen", "127.0.0.1:2,framing=lines", "--framing", "nul"][..],
        &["--config", &path],
    ] {
        let ended = Setup::new(&[&["--check"], args].concat()).run();
        ended.assert_clean();
        let shown = String::from_utf8(ended.output.clone()).unwrap();
        for line in
            ["\nlisten = 127.0.0.1:2,framing=lines # ", "\nframing = nul # ", "\nembedded-newline = escape # default\n"]
        {
            assert!(
                shown.starts_with("listen = 127.0.0.1:1,framing=nul # ") && shown.contains(line),
                "{line} in {shown}"
            );
        }
    }
}

#[test]
fn p21_a_newline_that_is_kept_is_one_in_json_and_the_line_is_whole() {
    for pieces in [vec![&b"11 one\ntwo \"\t3"[..]], vec![b"11 one\n", b"two \"\t3"]] {
        let receiver = Receiver::start(&[
            "--listen",
            "127.0.0.1:0,framing=octet",
            "--format",
            "json",
            "--embedded-newline",
            "keep",
        ]);
        let mut client = receiver.client();
        for piece in pieces {
            client.write_all(piece).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(50)); // a slow client
        }
        drop(client);
        let ended = receiver.stop();
        ended.assert_clean();
        let lines = ended.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].ends_with(r#","line":"one\ntwo \"\t3"}"#), "{lines:?}");
    }
}
