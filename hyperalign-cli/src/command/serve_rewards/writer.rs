//! Answers as pickles.

/// A dict of texts and lists of numbers as a pickle that Python reads (protocol 3).
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins the dict.
    pub fn new() -> Self {
        Self { bytes: vec![0x80, 3, b'}', b'('] }
    }

    /// An entry with a list of numbers.
    pub fn numbers(&mut self, key: &str, numbers: impl IntoIterator<Item = f64>) {
        self.key(key);
        self.bytes.extend([b']', b'(']);
        for number in numbers {
            self.bytes.push(b'G');
            self.bytes.extend(number.to_be_bytes());
        }
        self.bytes.push(b'e');
    }

    /// An entry with a dict of lists of numbers.
    pub fn groups(&mut self, key: &str, groups: impl IntoIterator<Item = (String, Vec<f64>)>) {
        self.key(key);
        self.bytes.extend([b'}', b'(']);
        for (name, numbers) in groups {
            self.numbers(&name, numbers);
        }
        self.bytes.push(b'u');
    }

    /// Ends the dict.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend([b'u', b'.']);
        self.bytes
    }

    fn key(&mut self, key: &str) {
        self.bytes.push(b'X');
        self.bytes.extend((key.len() as u32).to_le_bytes());
        self.bytes.extend(key.as_bytes());
    }
}
