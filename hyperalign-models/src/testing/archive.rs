//! Archives as `torch.save` writes them.

/// The header of a member in the directory (46 bytes) or before its content (30 bytes).
fn header(mark: &[u8; 4], lead: usize, name: &str, size: usize, offset: Option<usize>) -> Vec<u8> {
    let size = (size as u32).to_le_bytes();
    let mut bytes = mark.to_vec();
    bytes.resize(lead, 0);
    bytes.extend([0; 8]);
    bytes.extend(size);
    bytes.extend(size);
    bytes.extend((name.len() as u16).to_le_bytes());
    bytes.extend([0; 2]);
    if let Some(offset) = offset {
        bytes.extend([0; 10]);
        bytes.extend((offset as u32).to_le_bytes());
    }
    bytes.extend(name.as_bytes());
    bytes
}

/// A zip archive whose members are stored as they are, as `torch.save` writes it.
pub fn stored_zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        directory.extend(header(b"PK\x01\x02", 12, name, content.len(), Some(file.len())));
        file.extend(header(b"PK\x03\x04", 10, name, content.len(), None));
        file.extend(*content);
    }
    let start = file.len() as u32;
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([(members.len() as u16).to_le_bytes(); 2].concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    file
}
