//! What a person sees: bars on a terminal, and only there.

use std::process::{Command, Stdio};

use crate::support::{Ended, Place, end, rehearsal};

/// Runs the rehearsal on a terminal of its own (util-linux's script makes one for both stdout and stderr).
fn on_terminal(place: &Place, args: &[&str], no_color: bool) -> Ended {
    let quoted: Vec<String> = args.iter().map(|arg| format!("'{arg}'")).collect();
    let line = format!("stty cols 100; {} --config {} {}", rehearsal().display(), place.path("config.toml").display(), quoted.join(" "));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("TERM", "xterm-256color").env_remove("NO_COLOR");
    if no_color {
        command.env("NO_COLOR", "1");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    end(command)
}

const WORK: [&str; 6] = ["--item", "acme=done", "--item", "beta=failed", "--each-ms", "700"];

#[test]
fn a_terminal_gets_bars_and_colour_and_whole_log_lines() {
    let place = Place::new("");
    let ended = on_terminal(&place, &WORK, false);
    assert_eq!(ended.code, Some(3), "{}", ended.stdout);
    assert!(ended.stdout.contains("=>") && ended.stdout.contains("/2") && ended.stdout.contains('%'), "no bars: {:?}", ended.stdout);
    assert!(ended.stdout.contains("\u{1b}[31m"), "no colour: {:?}", ended.stdout);
    // Each line of the log stands whole, with nothing of a bar in it.
    for text in ["pg acme: done", "pg beta: failed to dump beta", "run partial"] {
        let line = ended.stdout.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {:?}", ended.stdout));
        // What came before on this line was erased by `ESC [ 2 K`.
        let line = line.rsplit("\u{1b}[2K").next().unwrap_or_default();
        assert!(line.contains(text) && !line.contains("=>") && !line.contains('%'), "torn: {line:?}");
    }
    // When the table comes the bars are gone: nothing of one stands after it.
    let table = ended.stdout.split("NAME").last().unwrap();
    assert!(!table.contains("=>"), "{table:?}");
}

#[test]
fn no_color_and_quiet_are_respected() {
    let place = Place::new("");
    let plain = on_terminal(&place, &WORK, true);
    assert!(!plain.stdout.contains("\u{1b}[31m") && !plain.stdout.contains("\u{1b}[1m"), "{:?}", plain.stdout);
    let quiet = on_terminal(&place, &[&WORK[..], &["--quiet"]].concat(), false);
    assert!(!quiet.stdout.contains("=>") && !quiet.stdout.contains("INFO"), "{:?}", quiet.stdout);
}

#[test]
fn elsewhere_there_are_neither_bars_nor_colour() {
    let place = Place::new("");
    let ended = place.run(&WORK);
    assert!(!ended.stderr.contains('\u{1b}') && !ended.stdout.contains('\u{1b}') && !ended.stderr.contains("=>"), "{:?}", ended.stderr);
}
