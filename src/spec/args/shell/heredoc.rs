//! Redirections and here-documents: which files a script writes, and with which text.

use super::{Parser, is_known, mark};
use crate::spec::args::base_name;

/// Commands that change a file in its place with `-i`.
const EDITORS: &[&str] = &["sed", "perl", "yq"];

/// A here-document whose body has not been reached.
#[derive(Debug, Clone)]
pub(super) struct Heredoc {
    /// Line that ends it.
    delimiter: String,
    /// Nothing in the body is expanded.
    literal: bool,
    /// Tabs at the start of lines do not count.
    tabs: bool,
    /// The file that the body goes to, and whether it is added; `None` for a program's input.
    target: Option<(String, bool)>,
    /// The command may not run.
    unsure: bool,
}

impl Parser {
    pub(super) fn redirect(&mut self, first: char) {
        // `2>` names a descriptor, not a word.
        let descriptor = self.begun && !self.word.is_empty() && self.word.chars().all(|c| c.is_ascii_digit());
        let standard = !descriptor || self.word == "1";
        if descriptor {
            self.word.clear();
            self.begun = false;
        }
        self.end_word();
        let mut operator = String::from(first);
        while let Some(c) = self.peek(0).filter(|c| matches!(c, '<' | '>' | '&' | '|')) {
            operator.push(c);
            self.at += 1;
        }
        self.heredoc_next = (operator == "<<").then_some(false);
        if self.heredoc_next.is_some() && self.peek(0) == Some('-') {
            self.at += 1;
            self.heredoc_next = Some(true);
        }
        self.output_next = match operator.as_str() {
            ">" | ">|" if standard => Some(false),
            ">>" if standard => Some(true),
            _ => None,
        };
        self.redirected = true;
    }

    /// The word after a redirection.
    pub(super) fn redirected_to(&mut self, word: String, quoted: bool) {
        if let Some(tabs) = self.heredoc_next.take() {
            self.heredocs.push(Heredoc { delimiter: word, literal: quoted, tabs, target: None, unsure: false });
        } else if let Some(append) = self.output_next.take() {
            self.output = Some((word, append));
        }
    }

    /// What a command does to files and directories.
    pub(super) fn files(&mut self, words: &[String], output: Option<(String, bool)>) {
        let Some((name, arguments)) = words.split_first() else { return };
        let name = base_name(name);
        let sure = self.blocks == 0;
        if name == "cd" {
            let to = arguments.first().filter(|_| sure).map_or_else(|| mark("cd"), Clone::clone);
            self.env.change_directory(&to);
        }
        if EDITORS.contains(&name) && arguments.iter().any(|word| word.starts_with("-i") || word == "--in-place") {
            for path in arguments {
                self.env.touch(path);
            }
        }
        let teed = || arguments.iter().find(|word| !word.starts_with('-')).cloned();
        let adds = || arguments.iter().any(|word| word == "-a" || word == "--append");
        let target = if name == "tee" { teed().map(|path| (path, adds())) } else { output };
        let copies = matches!(name, "cat" | "tee") && (name == "tee" || arguments.iter().all(|word| word == "-"));
        let mut bodies = self.heredocs.iter_mut().filter(|body| body.target.is_none());
        match (target, bodies.next()) {
            (Some(target), Some(body)) if copies => (body.target, body.unsure) = (Some(target), !sure),
            (Some((path, append)), _) => {
                let text = said(name, arguments).filter(|_| sure);
                self.env.write(&path, text, append);
            }
            (None, _) => {}
        }
    }

    /// The bodies of the here-documents of the line that has ended.
    pub(super) fn read_heredocs(&mut self) {
        for heredoc in std::mem::take(&mut self.heredocs) {
            let mut body = String::new();
            while self.at < self.chars.len() {
                let start = self.at;
                while self.next().is_some_and(|c| c != '\n') {}
                let line: String = self.chars.get(start..self.at).unwrap_or_default().iter().collect();
                if line.trim() == heredoc.delimiter {
                    break;
                }
                body.push_str(if heredoc.tabs { line.trim_start_matches('\t') } else { &line });
            }
            let Some((path, append)) = heredoc.target else { continue };
            let text = if heredoc.literal { body } else { self.expanded(&body) };
            self.env.write(&path, Some(text).filter(|_| !heredoc.unsure), append);
        }
    }

    /// A body with its variables; quotes mean nothing in it.
    fn expanded(&mut self, body: &str) -> String {
        let chars = std::mem::replace(&mut self.chars, body.chars().collect());
        let at = std::mem::take(&mut self.at);
        let word = std::mem::take(&mut self.word);
        while let Some(c) = self.next() {
            match (c, self.peek(0)) {
                ('$', Some('@' | '*')) => {
                    self.at += 1;
                    self.word.push_str(&mark("$@"));
                }
                ('$', _) => self.dollar(true),
                ('`', _) => self.backticks(),
                ('\\', Some('\n')) => self.at += 1,
                ('\\', Some(escaped @ ('$' | '`' | '\\'))) => {
                    self.at += 1;
                    self.word.push(escaped);
                }
                (c, _) => self.word.push(c),
            }
        }
        self.begun = false;
        (self.chars, self.at) = (chars, at);
        std::mem::replace(&mut self.word, word)
    }
}

/// What `echo` and a plain `printf` print.
fn said(name: &str, arguments: &[String]) -> Option<String> {
    let words: Vec<&str> = match name {
        "echo" => {
            arguments.iter().map(String::as_str).skip_while(|word| matches!(*word, "-n" | "-e" | "-ne")).collect()
        }
        "printf" => match arguments {
            [format, text] if matches!(format.as_str(), "%s" | "%s\\n") => vec![text],
            [text] if !text.contains('%') => vec![text],
            _ => return None,
        },
        _ => return None,
    };
    let text = words.join(" ").replace("\\n", "\n");
    is_known(&text).then(|| text + "\n")
}
