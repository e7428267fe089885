//! Enough of the shell to find the command that a `sh -c` string ends up running, with the pod's own environment.
//!
//! What cannot be known (command substitution, a variable from a Secret, an unset variable that the image may set) stays
//! in the word as a mark, so that only the setting that it belongs to becomes unknown.

mod env;

pub(super) use env::{Env, Var};

/// Opens a mark; the text up to [`CLOSE`] is what was written. Private-use characters: no command line holds them.
const OPEN: char = '\u{E000}';
const CLOSE: char = '\u{E001}';
/// Longest script that is read, bytes: a Kubernetes object holds at most 1.5 MiB.
const LONGEST: usize = 512 * 1024;
/// Most words of one container's command lines.
const MAX_WORDS: usize = 20_000;
/// Longest value after expansion: `$(A)$(A)` over and over must not grow without bound.
const MAX_VALUE: usize = 64 * 1024;

/// Commands that assign variables.
const EXPORTS: &[&str] = &["export", "declare", "local", "readonly"];
/// Words that open a block whose commands may not run, or not once.
const OPENING: &[&str] = &["if", "case", "for", "while", "until"];
/// Words that close one.
const CLOSING: &[&str] = &["fi", "esac", "done"];

/// A word that cannot be known, as it was written.
pub(super) fn mark(written: &str) -> String {
    format!("{OPEN}{written}{CLOSE}")
}

/// Whether every character of the word is known.
pub(super) fn is_known(word: &str) -> bool {
    !word.contains(OPEN)
}

/// The word as it was written, for messages.
pub(super) fn written(word: &str) -> String {
    word.chars().filter(|c| !matches!(*c, OPEN | CLOSE)).collect()
}

/// The commands of a script, in order, and the environment after its assignments.
///
/// # Errors
/// What cannot be read: an open quote, a script that is too long.
pub(super) fn script(text: &str, env: &Env, positional: &[String]) -> Result<(Vec<Vec<String>>, Env), String> {
    if text.len() > LONGEST {
        return Err(format!("the shell script is longer than {} KiB", LONGEST / 1024));
    }
    let mut env = env.clone();
    env.positional = positional.to_vec();
    let mut parser = Parser { chars: text.chars().collect(), at: 0, env, ..Parser::default() };
    parser.run()?;
    Ok((parser.commands, parser.env))
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "five independent facts about the place in the script")]
struct Parser {
    chars: Vec<char>,
    at: usize,
    env: Env,
    commands: Vec<Vec<String>>,
    words: Vec<String>,
    word: String,
    /// A word has begun, be it empty (`""`).
    begun: bool,
    /// The next word belongs to a redirection.
    redirected: bool,
    /// Delimiters of here-documents whose bodies follow the line.
    heredocs: Vec<String>,
    /// The next word is the delimiter of a here-document.
    heredoc_next: bool,
    /// The next word is the file that the output goes to.
    output_next: bool,
    /// Files that the line's commands write to.
    outputs: Vec<String>,
    total: usize,
    /// Open `if`, `case`, `for`, `while` and `until`.
    blocks: usize,
    /// The command runs only if the one before it (did not) succeed: `&&`, `||`.
    chained: bool,
}

impl Parser {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        Some(c)
    }

    fn run(&mut self) -> Result<(), String> {
        while let Some(c) = self.next() {
            match c {
                '\\' => self.escape(),
                '\'' => self.single_quoted()?,
                '"' => self.double_quoted()?,
                '$' => self.dollar(false),
                '`' => self.backticks(),
                '#' if !self.begun => self.comment(),
                '\n' => {
                    self.end_command();
                    self.read_heredocs();
                }
                c if c.is_whitespace() => self.end_word(),
                '&' if self.peek(0) == Some('>') => self.end_word(),
                ';' | '(' | ')' => self.end_command(),
                '&' | '|' => {
                    self.end_command();
                    self.chained |= self.peek(0) == Some(c);
                }
                '<' | '>' => self.redirect(c),
                c => self.push(c),
            }
            if self.total > MAX_WORDS {
                return Err(format!("the shell script has more than {MAX_WORDS} words"));
            }
        }
        self.end_command();
        Ok(())
    }

    fn push(&mut self, c: char) {
        self.word.push(c);
        self.begun = true;
    }

    fn push_str(&mut self, text: &str) {
        self.word.push_str(text);
        self.begun = true;
    }

    fn escape(&mut self) {
        match self.next() {
            Some('\n') | None => {}
            Some('\r') if self.peek(0) == Some('\n') => self.at += 1,
            Some(c) => self.push(c),
        }
    }

    fn single_quoted(&mut self) -> Result<(), String> {
        self.begun = true;
        loop {
            match self.next() {
                Some('\'') => return Ok(()),
                Some(c) => self.word.push(c),
                None => return Err("the shell script has an open single quote".to_owned()),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<(), String> {
        self.begun = true;
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('$') => self.dollar(true),
                Some('`') => self.backticks(),
                Some('\\') => match self.next() {
                    Some('\n') | None => {}
                    Some(c @ ('"' | '\\' | '$' | '`')) => self.word.push(c),
                    Some(c) => self.word.extend(['\\', c]),
                },
                Some(c) => self.word.push(c),
                None => return Err("the shell script has an open double quote".to_owned()),
            }
        }
    }

    fn comment(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.at += 1;
        }
    }

    fn backticks(&mut self) {
        let start = self.at;
        while self.next().is_some_and(|c| c != '`') {}
        let inner: String = self.chars.get(start..self.at).unwrap_or_default().iter().collect();
        self.push_str(&mark(&format!("`{inner}")));
    }

    /// Skips to the bracket that closes the one just read; gives what is between.
    fn bracketed(&mut self, open: char, close: char) -> String {
        let start = self.at;
        let mut depth = 1_usize;
        while let Some(c) = self.next() {
            if c == '\\' {
                self.at += 1;
            } else if c == open {
                depth += 1;
            } else if c == close {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
        }
        let end = self.at.saturating_sub(usize::from(depth == 0));
        self.chars.get(start..end.max(start)).unwrap_or_default().iter().collect()
    }

    fn dollar(&mut self, quoted: bool) {
        match self.peek(0) {
            Some('(') => {
                self.at += 1;
                let inner = self.bracketed('(', ')');
                self.push_str(&mark(&format!("$({inner})")));
            }
            Some('{') => {
                self.at += 1;
                let inner = self.bracketed('{', '}');
                let value = self.parameter(&inner);
                self.insert(&value, quoted);
            }
            Some('@' | '*') => {
                self.at += 1;
                self.all_positional();
            }
            Some(c) if c == '_' || c.is_ascii_alphanumeric() => {
                let digits_only = c.is_ascii_digit();
                let mut name = String::new();
                while let Some(c) = self.peek(0).filter(|c| *c == '_' || c.is_ascii_alphanumeric()) {
                    name.push(c);
                    self.at += 1;
                    if digits_only {
                        break;
                    }
                }
                let value = self.lookup(&name).unwrap_or_else(|| mark(&format!("${name}")));
                self.insert(&value, quoted);
            }
            Some('$' | '?' | '!' | '#' | '-') => {
                self.at += 1;
                self.push_str(&mark("$?"));
            }
            _ => self.push('$'),
        }
    }

    /// `"$@"`: every argument a word of its own.
    fn all_positional(&mut self) {
        for (index, word) in self.env.positional.clone().iter().enumerate() {
            if index > 0 {
                self.end_word();
            }
            self.push_str(word);
        }
    }

    /// The value of a variable or positional parameter; a mark where it is not known, `None` where it is not set.
    fn lookup(&self, name: &str) -> Option<String> {
        if let Ok(position) = name.parse::<usize>() {
            return position.checked_sub(1).and_then(|index| self.env.positional.get(index)).cloned();
        }
        match self.env.get(name) {
            Var::Known(value) => Some(value.to_owned()),
            Var::Unknown => Some(mark(&format!("${name}"))),
            Var::Unset => None,
        }
    }

    /// `NAME`, `NAME:-word`, `NAME-word`, `NAME:=word`, `NAME:+word`; everything else cannot be known.
    fn parameter(&self, inner: &str) -> String {
        let unknown = || mark(&format!("${{{inner}}}"));
        let end = inner.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(inner.len());
        let (name, operator) = inner.split_at(end);
        let value = self.lookup(name);
        let word = |text: &str| {
            let text = text.trim_matches(['"', '\'']);
            if text.contains(['$', '`', '\\']) { unknown() } else { text.to_owned() }
        };
        if name.is_empty() {
            return unknown();
        }
        let filled = value.as_ref().is_some_and(|value| !value.is_empty());
        for (symbol, counts) in [(":-", filled), (":=", filled), ("-", value.is_some()), ("=", value.is_some())] {
            if let Some(default) = operator.strip_prefix(symbol) {
                return value.filter(|_| counts).unwrap_or_else(|| word(default));
            }
        }
        if let Some(alternative) = operator.strip_prefix(":+") {
            return match value {
                Some(value) if !is_known(&value) => unknown(),
                _ if filled => word(alternative),
                _ => String::new(),
            };
        }
        match (operator, value) {
            ("", Some(value)) => value,
            (required, Some(value)) if required.starts_with(":?") => value,
            _ => unknown(),
        }
    }

    /// Puts an expanded value into the word; outside quotes it is split at white space.
    fn insert(&mut self, value: &str, quoted: bool) {
        if self.word.len() + value.len() > MAX_VALUE {
            self.push_str(&mark("a value that is too long"));
        } else if quoted || !is_known(value) {
            self.push_str(value);
        } else {
            for (index, part) in value.split_whitespace().enumerate() {
                if index > 0 || (value.starts_with(char::is_whitespace) && self.begun) {
                    self.end_word();
                }
                self.push_str(part);
            }
            if value.ends_with(char::is_whitespace) {
                self.end_word();
            }
        }
    }

    fn redirect(&mut self, first: char) {
        // `2>` names a descriptor, not a word.
        let numbered = self.begun && !self.word.is_empty() && self.word.chars().all(|c| c.is_ascii_digit());
        if numbered {
            self.word.clear();
            self.begun = false;
        }
        self.end_word();
        let mut operator = String::from(first);
        while let Some(c) = self.peek(0).filter(|c| matches!(c, '<' | '>' | '&' | '|')) {
            operator.push(c);
            self.at += 1;
        }
        self.heredoc_next = operator == "<<";
        self.output_next = operator == ">" && !numbered;
        if self.heredoc_next && self.peek(0) == Some('-') {
            self.at += 1;
        }
        self.redirected = true;
    }

    /// Reads the bodies of the line's here-documents; the body of a single one is the text of the file it goes to.
    fn read_heredocs(&mut self) {
        let delimiters = std::mem::take(&mut self.heredocs);
        let outputs = std::mem::take(&mut self.outputs);
        let mut body = String::new();
        for delimiter in &delimiters {
            body.clear();
            while self.at < self.chars.len() {
                let start = self.at;
                while self.next().is_some_and(|c| c != '\n') {}
                let line: String = self.chars.get(start..self.at).unwrap_or_default().iter().collect();
                if line.trim() == delimiter {
                    break;
                }
                body.push_str(&line);
            }
        }
        if let ([_], [path]) = (delimiters.as_slice(), outputs.as_slice()) {
            // Variables may be expanded in it.
            let text = Some(body).filter(|text| !text.contains(['$', '`']));
            self.write(path, text);
        }
    }

    /// A file that is written under a condition, or twice, may hold anything.
    fn write(&mut self, path: &str, text: Option<String>) {
        let sure = self.blocks == 0 && !self.chained && !self.env.files.contains_key(path);
        self.env.files.insert(path.to_owned(), text.filter(|text| sure && is_known(text) && text.len() <= MAX_VALUE));
    }

    fn end_word(&mut self) {
        if !self.begun {
            return;
        }
        self.begun = false;
        let word = std::mem::take(&mut self.word);
        if std::mem::take(&mut self.redirected) {
            if std::mem::take(&mut self.heredoc_next) {
                self.heredocs.push(word);
            } else if std::mem::take(&mut self.output_next) {
                self.outputs.push(word);
            }
            return;
        }
        self.total += 1;
        self.words.push(word);
    }

    fn end_command(&mut self) {
        self.end_word();
        self.redirected = false;
        let words = std::mem::take(&mut self.words);
        if words.is_empty() {
            return;
        }
        self.echoed(&words);
        let grammar = self.grammar(&words);
        let export = words.get(grammar).is_some_and(|word| EXPORTS.contains(&word.as_str()));
        let before = grammar + usize::from(export);
        let assignments = words.iter().skip(before).map_while(|word| assignment(word)).count();
        for (name, value) in words.iter().skip(before).take(assignments).filter_map(|word| assignment(word)) {
            self.assign(name, value);
        }
        self.chained = false;
        // A grammar word before a command is harmless, one before nothing is no command.
        let command: Vec<String> =
            words.into_iter().skip(if assignments > 0 { before + assignments } else { 0 }).collect();
        if !export && !command.is_empty() {
            self.commands.push(command);
        }
    }

    /// `echo TEXT > FILE` and `printf TEXT > FILE`.
    fn echoed(&mut self, words: &[String]) {
        let Some(path) = self.outputs.pop_if(|_| self.heredocs.is_empty()) else { return };
        let text = match words {
            [command, text @ ..] if matches!(command.as_str(), "echo" | "printf") => {
                let plain = text.iter().skip_while(|word| matches!(word.as_str(), "-e" | "-n" | "-ne" | "-en"));
                Some(plain.cloned().collect::<Vec<_>>().join(" ").replace("\\n", "\n"))
                    .filter(|text| !text.contains('%'))
            }
            _ => None,
        };
        self.write(&path, text);
    }

    /// Leading words of the shell's grammar, with the blocks that they open and close.
    fn grammar(&mut self, words: &[String]) -> usize {
        let grammar = words.iter().take_while(|word| super::RESERVED.contains(&word.as_str())).count();
        let blocks =
            |names: &[&str]| words.iter().take(grammar + 1).filter(|word| names.contains(&word.as_str())).count();
        self.blocks = self.blocks.saturating_add(blocks(OPENING)).saturating_sub(blocks(CLOSING));
        grammar
    }

    /// What is assigned under a condition may or may not hold afterwards.
    fn assign(&mut self, name: &str, value: &str) {
        let value = Some(value.to_owned()).filter(|value| is_known(value));
        let before = self.env.vars.get(name);
        let sure = self.blocks == 0 && (!self.chained || before.is_none_or(|before| *before == value));
        self.env.vars.insert(name.to_owned(), value.filter(|_| sure));
    }
}

/// `NAME=value`.
pub(super) fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let mut chars = name.chars();
    let starts = chars.next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic());
    (starts && chars.all(|c| c == '_' || c.is_ascii_alphanumeric())).then_some((name, value))
}

#[cfg(test)]
mod tests;
