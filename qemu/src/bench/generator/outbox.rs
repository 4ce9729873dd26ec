//! What a port is to write: frames behind each other, each with its length before it, and tagged if the port's are. [`Outbox`].

/// What comes before each frame on a stream socket: its length, as four octets with the highest first.
pub(super) const PREFIX: usize = 4;

/// Both station addresses, behind which a tag has its place.
pub(super) const ADDRESSES: usize = 12;

/// The octets of a tag: the tag protocol identifier of customer VLANs, priority 0, and the number (IEEE 802.1Q 9.3).
pub(super) type Tag = [u8; 4];

/// Returns the tag of a VLAN.
pub(super) const fn tag(vlan: u16) -> Tag {
    let [high, low] = vlan.to_be_bytes();
    [0x81, 0x00, high & 0x0f, low]
}

/// Frames to be written.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    octets: Vec<u8>,
    tag: Option<Tag>,
}

impl Outbox {
    /// Makes an empty one, whose frames get this tag.
    pub(super) const fn tagged(tag: Option<Tag>) -> Self {
        Self { octets: Vec::new(), tag }
    }

    /// Returns the tag that frames get.
    pub(super) const fn tag(&self) -> Option<Tag> {
        self.tag
    }

    /// Appends a frame. Returns it as it lies there, for changes to what is behind its station addresses: an octet there has the place
    /// that it has in `frame`.
    pub(super) fn append(&mut self, frame: &[u8]) -> &mut [u8] {
        let start = self.octets.len() + PREFIX;
        let Some((tag, (addresses, rest))) = self.tag.zip(frame.split_at_checked(ADDRESSES)) else {
            self.octets.extend(u32::try_from(frame.len()).unwrap_or(0).to_be_bytes());
            self.octets.extend_from_slice(frame);
            return self.octets.get_mut(start..).unwrap_or_default();
        };
        self.octets.extend(u32::try_from(frame.len() + tag.len()).unwrap_or(0).to_be_bytes());
        self.octets.extend_from_slice(addresses);
        self.octets.extend_from_slice(&tag);
        self.octets.extend_from_slice(rest);
        self.octets.get_mut(start + tag.len()..).unwrap_or_default()
    }

    /// Appends what is in another one.
    pub(super) fn join(&mut self, other: &Self) {
        self.octets.extend_from_slice(&other.octets);
    }

    /// Makes room for so many frames of so many octets.
    pub(super) fn reserve(&mut self, frames: usize, octets: usize) {
        self.octets.reserve(frames * (PREFIX + size_of::<Tag>() + octets));
    }

    /// Returns all of it as it is to be written.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        self.octets.clear();
    }
}

/// Takes the tag off a frame that must have it. Returns what is left, or the frame as it was if it has not.
pub(super) fn untagged(frame: &mut [u8], tag: Option<Tag>) -> &[u8] {
    let Some(tag) = tag else { return frame };
    if frame.get(ADDRESSES..).is_none_or(|rest| !rest.starts_with(&tag)) {
        return frame;
    }
    frame.copy_within(..ADDRESSES, tag.len());
    frame.get(tag.len()..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_put_behind_the_addresses_and_taken_off_again() {
        let frame: Vec<u8> = (0..60).collect();
        let mut outbox = Outbox::tagged(Some(tag(20)));
        outbox.append(&frame)[30] = 99;
        assert_eq!(outbox.octets()[..4], [0, 0, 0, 64]);
        assert_eq!(outbox.octets()[16..22], [0x81, 0, 0, 20, 12, 13]);
        let mut written = outbox.octets()[PREFIX..].to_vec();
        let mut expected = frame.clone();
        expected[30] = 99;
        assert_eq!(untagged(&mut written, Some(tag(20))), expected);
        let mut other = outbox.octets()[PREFIX..].to_vec();
        assert_eq!(
            untagged(&mut other.clone(), Some(tag(21))),
            other,
            "the tag of another VLAN stays, and is found to be wrong"
        );
        assert_eq!(untagged(&mut other, None).len(), 64);
        assert_eq!(untagged(&mut [1, 2, 3], Some(tag(20))), [1, 2, 3]);
    }

    #[test]
    fn without_a_tag_frames_are_as_they_are() {
        let mut outbox = Outbox::default();
        outbox.append(&[7; 14])[12] = 8;
        outbox.append(&[]);
        assert_eq!(outbox.octets(), [&[0, 0, 0, 14][..], &[7; 12], &[8, 7], &[0; 4]].concat());
    }
}
