//! Reads a Hugging Face `config.json` into a [`Model`](super::Model).
