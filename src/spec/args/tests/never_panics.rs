use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn on_dotted_flags_and_files_of_any_kind(keys in "[a-z.=0-9{}]{0,30}", body in "[ a-z:{}\\[\\]0-9\\n-]{0,60}") {
        for program in ["vllm serve m", "python3 -m sglang.launch_server", "trtllm-serve m", "trl sft", "axolotl train f.yaml"] {
            shell(&format!("cat > f.yaml <<'END'\n{body}\nEND\n{program} --compilation-config.{keys} --config f.yaml"));
        }
    }

    #[test]
    fn on_arbitrary_words(words in proptest::collection::vec(".{0,20}", 0..8), image in ".{0,30}") {
        let container = Container { name: "c".into(), image, args: words, ..Container::default() };
        read(&container, &ALONE, &mut Draft::default());
    }

    #[test]
    fn on_words_of_the_tables(picks in proptest::collection::vec((0..PROGRAMS.len(), 0..200_usize, "(=)?[0-9a-z{\":,]{0,8}"), 0..12)) {
        for program in PROGRAMS {
            let mut words: Vec<String> = program.starts[0].iter().map(ToString::to_string).collect();
            for (pick, flag, value) in &picks {
                let flags = PROGRAMS[*pick].flags;
                if let Some(row) = flags.get(flag % flags.len().max(1)) {
                    words.push(format!("{}{}", row.names[0], if value.starts_with('=') { value } else { "" }));
                    words.push(value.clone());
                }
            }
            let container = Container { name: "c".into(), command: words, ..Container::default() };
            let mut draft = Draft::default();
            read(&container, &ALONE, &mut draft);
            draft.finish();
        }
    }
}
