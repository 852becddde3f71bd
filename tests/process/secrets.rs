//! What says who we are is in no sentence, in whatever way an argument is misspelt (P13).

use std::fs;

use crate::support::conditions::Dir;
use crate::support::receiver::{Ended, Setup};

/// Options that take an address, or that somebody may take for one that does.
const OPTIONS: [&str; 12] = [
    "--output",
    "--poll",
    "--alert-url",
    "--push-header",
    "--http-auth",
    "--nats-stream",
    "--nats-creds",
    "--listen",
    "--status",
    "--spool",
    "--outptu",
    "--box",
];

/// Addresses that are none, each with the password `s3cret`.
const ADDRESSES: [&str; 30] = [
    "user:s3cret@host",
    "user:s3cret@host/log",
    "user:s3cret@host:4445",
    "user:s3cret@host:99999",
    "//user:s3cret@host/log",
    "http:/user:s3cret@h/",
    "http:user:s3cret@h/",
    "http//user:s3cret@h/log",
    "htp://user:s3cret@h/log",
    "http://user:s3cret@h:99999/",
    "http://user:s3cret@",
    "http://user:s3cret@h/ b",
    "http://user:s3 cret@h/",
    "http://user:s3/cret@h/",
    "http://user:a@s3cret@h:x/",
    "http://u:x:s3cret@/",
    "\"http://user:s3cret@h/\"",
    "lok+http://user:s3cret@h/x",
    "loki+htp://user:s3cret@h/x",
    "elastic+http://user:s3cret@h",
    "splunk+http://user:s3cret@h/x",
    "clickhouse+http://user:s3cret@h/",
    "p=user:s3cret@host/log",
    "p=http:/user:s3cret@h/",
    "p http://user:s3cret@h/",
    "nats:user:s3cret@h/a",
    "nats//user:s3cret@h/a",
    "nat://user:s3cret@h/a",
    "nats://user:s3cret@h",
    "--user:s3cret@h",
];

/// The same with a password in the query.
const QUERIES: [&str; 5] = [
    "clickhouse+http://h/?password=s3cret",
    "lok+http://h/x?password=s3cret",
    "p=htp://h/?token=s3cret",
    "htp:/h/?token=s3 cret",
    "nats//h?token=\"s3cret",
];

/// Fields of HTTP that are none, or hardly.
const FIELDS: [&str; 5] = [
    "Authorization s3cret",
    "Authorization Basic s3cret:x",
    "Authorization=s3cret",
    "'Authorization: s3cret'",
    "Authorization\ts3cret",
];

fn assert_hidden(ended: &Ended, given: &[&str]) {
    let shown = String::from_utf8_lossy(&ended.output).into_owned() + &ended.stderr;
    assert_ne!(ended.code, Some(0), "{given:?} is taken: {shown}");
    let has_secret = ["s3", "cret@", "cret:"].iter().any(|part| shown.contains(part));
    assert!(!has_secret, "{given:?} is repeated: {shown}");
}

fn check(args: &[&str]) -> Ended {
    Setup::new(&[args, &["--check"]].concat()).run()
}

#[test]
fn p13_no_sentence_about_a_misspelt_argument_repeats_a_password() {
    let dir = Dir::new();
    let config = dir.file("a.conf");
    for address in ADDRESSES {
        for option in OPTIONS {
            // What is a name or a file there is no mistake of which there is a sentence.
            let is_taken = matches!(option, "--http-auth" | "--nats-creds" | "--nats-stream" | "--box")
                || (option == "--alert-url" && address == "--user:s3cret@h");
            let joined = format!("{option}={address}");
            for args in [&[option, address][..], &[&joined]] {
                let ended = check(args);
                if ended.code != Some(0) || !is_taken {
                    assert_hidden(&ended, args);
                }
            }
            fs::write(&config, format!("{} = {address}\n", &option[2..])).unwrap();
            let ended = check(&["--config", &config]);
            if ended.code != Some(0) || !is_taken {
                assert_hidden(&ended, &[&option[2..], address]);
            }
        }
        assert_hidden(&check(&[address]), &[address]);
        fs::write(&config, format!("output {address}\n")).unwrap();
        assert_hidden(&check(&["--config", &config]), &["output", address]);
    }
}

#[test]
fn p13_no_sentence_about_a_misspelt_address_repeats_its_query() {
    let dir = Dir::new();
    let config = dir.file("a.conf");
    for address in QUERIES {
        for option in ["--output", "--poll", "--listen", "--status", "--outptu"] {
            // A query is the end of a file's name, too.
            if option == "--output" && address.starts_with("nats//") {
                continue;
            }
            assert_hidden(&check(&[option, address]), &[option, address]);
            fs::write(&config, format!("{} = {address}\n", &option[2..])).unwrap();
            assert_hidden(&check(&["--config", &config]), &[&option[2..], address]);
        }
    }
}

#[test]
fn p13_no_command_repeats_a_password() {
    for address in ADDRESSES {
        for command in ["read", "verify", "cat", "status"] {
            let args = [command, address];
            assert_hidden(&Setup::new(&args).run(), &args);
        }
        let args = ["read", "--from", address];
        assert_hidden(&Setup::new(&args).run(), &args);
    }
}

#[cfg(feature = "push")]
#[test]
fn p13_no_sentence_about_a_misspelt_field_repeats_what_it_says() {
    let dir = Dir::new();
    let config = dir.file("a.conf");
    let loki = ["--output", "loki+http://192.0.2.1:3100"];
    for field in FIELDS {
        for args in [&["--push-header", field][..], &[&format!("--push-header={field}")], &["--push-headr", field]] {
            assert_hidden(&check(&[&loki[..], args].concat()), args);
        }
        for line in ["push-header = ", "push-header ", "push-header: ", "push-headr = "] {
            let line = format!("{line}{field}");
            fs::write(&config, format!("output = loki+http://192.0.2.1:3100\n{line}\n")).unwrap();
            assert_hidden(&check(&["--config", &config]), &[&line]);
        }
    }
    // Without quotes around it.
    let args = ["--push-header", "X-Api-Key:", "s3cret"];
    assert_hidden(&check(&[&loki[..], &args].concat()), &args);
}
