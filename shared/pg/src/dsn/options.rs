//! `PGOPTIONS`: settings handed to the server when a session begins.

/// The settings in an options string: `-c name=value`, `-cname=value` and `--name=value`. Other
/// switches of the server are passed over.
pub fn parse_options(text: &str) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        let setting =
            if word == "-c" { words.next() } else { word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).map(str::to_owned) };
        if let Some((name, value)) = setting.as_deref().and_then(|setting| setting.split_once('=')) {
            // The server reads `--a-b` as `a_b`.
            settings.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    settings
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(characters.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// `-c name=value` as it stands in an options string.
pub fn escape_option(name: &str, value: &str) -> String {
    let mut text = format!("-c {name}=");
    for c in value.chars() {
        if c.is_ascii_whitespace() || c == '\\' {
            text.push('\\');
        }
        text.push(c);
    }
    text
}
