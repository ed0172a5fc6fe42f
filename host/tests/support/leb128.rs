//! Whole numbers as WebAssembly's binary format has them.

/// LEB128: seven bits a byte, the lowest first.
pub fn unsigned(number: usize) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), number);
    while rest > 0x7f {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}
