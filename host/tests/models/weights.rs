//! The smallest file that is a sound model to all who only look at it.

/// Numbers in its one tensor; enough to be sent in many pieces.
const ELEMENTS: u64 = 256 << 10;

/// A GGUF file of about a megabyte. `seed` makes files of one size that differ.
pub fn gguf(seed: u8) -> Vec<u8> {
    let mut file = b"GGUF".to_vec();
    file.extend(3u32.to_le_bytes());
    file.extend(1u64.to_le_bytes());
    file.extend(5u64.to_le_bytes());
    text(&mut file, "general.architecture", "llama");
    number(&mut file, "general.file_type", 7);
    number(&mut file, "llama.context_length", 4096);
    number(&mut file, "llama.block_count", 2);
    text(&mut file, "tokenizer.ggml.model", "gpt2");
    put(&mut file, "token_embd.weight");
    file.extend(1u32.to_le_bytes());
    file.extend(ELEMENTS.to_le_bytes());
    // 32-bit numbers, from the start of all data.
    file.extend(0u32.to_le_bytes());
    file.extend(0u64.to_le_bytes());
    file.resize(file.len().next_multiple_of(32), 0);
    let data = (0..ELEMENTS * 4).map(|at| (at % 251) as u8 ^ seed);
    file.extend(data);
    file
}

fn put(file: &mut Vec<u8>, text: &str) {
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(text.as_bytes());
}

fn text(file: &mut Vec<u8>, key: &str, value: &str) {
    put(file, key);
    file.extend(8u32.to_le_bytes());
    put(file, value);
}

fn number(file: &mut Vec<u8>, key: &str, value: u32) {
    put(file, key);
    file.extend(4u32.to_le_bytes());
    file.extend(value.to_le_bytes());
}
