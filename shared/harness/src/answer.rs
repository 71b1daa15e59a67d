//! What a question about the store or a set is answered with: for people, or as one JSON object.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    exit::Exit,
    grid::{Column, Look, grid},
};

/// An answer: blocks for people, and the same for programs.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    blocks: Vec<Block>,
    json: Map<String, Value>,
    rows: Option<(String, Vec<String>)>,
}

#[derive(Debug, Clone)]
enum Block {
    Text(String),
    Grid(Vec<Column>),
}

impl Answer {
    /// With lines of text, for people.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.blocks.push(Block::Text(text.into()));
        self
    }

    /// With a table, for people.
    pub fn grid(mut self, columns: Vec<Column>) -> Self {
        self.blocks.push(Block::Grid(columns));
        self
    }

    /// With an array of the JSON object, each element written already: a hundred thousand of them take a third of the memory
    /// that they would take as values. One array at most; the last one counts.
    pub fn json_rows(mut self, key: &str, rows: Vec<String>) -> Self {
        self.rows = Some((key.to_owned(), rows));
        self
    }

    /// With a key of the JSON object.
    pub fn json(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.json.insert(key.to_owned(), value.into());
        self
    }
}

pub(crate) fn render_text(answer: &Answer, look: Look) -> String {
    let block = |block: &Block| match block {
        Block::Text(text) => text.clone(),
        Block::Grid(columns) => grid(columns, look),
    };
    answer.blocks.iter().map(block).collect::<Vec<_>>().join("\n\n")
}

/// The object that every job's result is, with the answer's own keys at its end.
pub(crate) fn render_json(job: &str, run_id: &str, answer: &Answer, spread: bool) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Whole<'a> {
        schema: u32,
        job: &'a str,
        version: &'a str,
        run_id: &'a str,
        outcome: Exit,
        exit_code: u8,
        #[serde(flatten)]
        answer: &'a Map<String, Value>,
    }
    let exit = Exit::Done;
    let whole = Whole { schema: 1, job, version: crate::VERSION, run_id, outcome: exit, exit_code: exit.code(), answer: &answer.json };
    let mut text = if spread { serde_json::to_string_pretty(&whole)? } else { serde_json::to_string(&whole)? };
    if let Some((key, rows)) = &answer.rows {
        // The object's last brace, behind which the array goes.
        text.truncate(text.trim_end_matches('}').trim_end().len());
        text.push_str(&format!(",{}:[", serde_json::to_string(key)?));
        for (at, row) in rows.iter().enumerate() {
            text.extend([if at > 0 { "," } else { "" }, row]);
        }
        text.push_str("]}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_same_for_people_and_programs() {
        let answer = Answer::default()
            .text("Two sets.")
            .grid(vec![Column::words("set", ["a".to_owned(), "b".to_owned()])])
            .json("sets", vec!["a", "b"]);
        assert_eq!(render_text(&answer, Look::default()), "Two sets.\n\nSET\na\nb");
        let whole: Value = serde_json::from_str(&render_json("job", "run", &answer, false).unwrap()).unwrap();
        assert_eq!((&whole["schema"], &whole["exit_code"], &whole["sets"][1]), (&Value::from(1), &Value::from(0), &Value::from("b")));
        let written = Answer::default().json("of", "x").json_rows("sets", vec!["{\"a\":1}".to_owned(), "{}".to_owned()]);
        for spread in [false, true] {
            let whole: Value = serde_json::from_str(&render_json("job", "run", &written, spread).unwrap()).unwrap();
            assert_eq!((&whole["of"], &whole["sets"]), (&Value::from("x"), &serde_json::json!([{ "a": 1 }, {}])));
        }
    }
}
