//! Enough of the shell to find the command that a `sh -c` string ends up running, with the pod's own environment.
//!
//! What cannot be known (command substitution, a variable from a Secret, an unset variable that the image may set) stays
//! in the word as a mark, so that only the setting that it belongs to becomes unknown.

mod arithmetic;
mod env;
mod heredoc;

use self::env::MAX_VALUE;
pub(super) use self::env::{Env, Var, is_known, mark, written};
use self::heredoc::Heredoc;

/// Longest script that is read, bytes: a Kubernetes object holds at most 1.5 MiB.
const LONGEST: usize = 512 * 1024;
/// Most words of one container's command lines.
const MAX_WORDS: usize = 20_000;
/// Commands that assign variables.
const EXPORTS: &[&str] = &["export", "declare", "local", "readonly"];
/// Words that open a block whose commands may not run, or not once.
const OPENING: &[&str] = &["if", "case", "for", "while", "until"];
/// Words that close one.
const CLOSING: &[&str] = &["fi", "esac", "done"];

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
#[expect(clippy::struct_excessive_bools, reason = "four independent facts about the place in the script")]
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
    /// Part of the word was quoted.
    quoted: bool,
    /// Here-documents whose bodies follow the line.
    heredocs: Vec<Heredoc>,
    /// The next word is the delimiter of a here-document; of one that is indented by tabs (`<<-`).
    heredoc_next: Option<bool>,
    /// The next word is the file that the command writes; whether it adds to it.
    output_next: Option<bool>,
    /// The file that the command writes; whether it adds to it.
    output: Option<(String, bool)>,
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
        self.quoted = true;
        match self.next() {
            Some('\n') | None => {}
            Some('\r') if self.peek(0) == Some('\n') => self.at += 1,
            Some(c) => self.push(c),
        }
    }

    fn single_quoted(&mut self) -> Result<(), String> {
        (self.begun, self.quoted) = (true, true);
        loop {
            match self.next() {
                Some('\'') => return Ok(()),
                Some(c) => self.word.push(c),
                None => return Err("the shell script has an open single quote".to_owned()),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<(), String> {
        (self.begun, self.quoted) = (true, true);
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
                match self.calculated(&inner) {
                    Some(number) => self.push_str(&number.to_string()),
                    None => self.push_str(&mark(&format!("$({inner})"))),
                }
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

    /// The value of `$((...))`, of which the outer brackets are off already.
    fn calculated(&self, inner: &str) -> Option<i64> {
        let text = inner.strip_prefix('(')?.strip_suffix(')')?;
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            plain.push_str(before);
            // `$N` is `N` here; `${N:-1}` may have a value of its own.
            rest = match after.strip_prefix('{').map(|inner| inner.split_once('}')) {
                Some(closed) => {
                    let (parameter, behind) = closed?;
                    plain.push_str(&self.parameter(parameter));
                    behind
                }
                None => after,
            };
        }
        plain.push_str(rest);
        arithmetic::value(&plain, &|name| self.lookup(name)?.trim().parse().ok())
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

    fn end_word(&mut self) {
        if !self.begun {
            return;
        }
        self.begun = false;
        let (word, quoted) = (std::mem::take(&mut self.word), std::mem::take(&mut self.quoted));
        if std::mem::take(&mut self.redirected) {
            return self.redirected_to(word, quoted);
        }
        self.total += 1;
        self.words.push(word);
    }

    fn end_command(&mut self) {
        self.end_word();
        self.redirected = false;
        let words = std::mem::take(&mut self.words);
        let output = self.output.take();
        if words.is_empty() {
            return;
        }
        let grammar = self.grammar(&words);
        self.files(words.get(grammar..).unwrap_or_default(), output);
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
