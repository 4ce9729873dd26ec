//! What a flow's packets carry: mark, flow number, sequence number, and octets that follow from these. [`append`], [`read`].

use super::FlowId;

/// What a flow's payload begins with.
const MAGIC: [u8; 4] = *b"slce";

/// Mark, flow number and sequence number: what the smallest payload holds.
pub(super) const MIN_PAYLOAD: usize = 16;

/// Appends a payload: mark, flow, sequence number, and octets that follow from these.
pub(super) fn append(out: &mut Vec<u8>, flow: u32, sequence: u64, length: usize) {
    let end = out.len() + length;
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&flow.to_be_bytes());
    out.extend_from_slice(&sequence.to_be_bytes());
    let mut state = sequence ^ (u64::from(flow) << 48);
    while out.len() < end {
        let octets = splitmix(&mut state).to_le_bytes();
        let count = octets.len().min(end - out.len());
        out.extend_from_slice(octets.get(..count).unwrap_or_default());
    }
}

/// Returns the next number of the generator (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Returns the flow and the sequence number of a UDP payload that a flow sent.
pub(super) fn read(payload: &[u8]) -> Option<(FlowId, u64)> {
    let (magic, rest) = payload.split_first_chunk::<4>()?;
    let (flow, rest) = rest.split_first_chunk::<4>()?;
    let (sequence, _) = rest.split_first_chunk::<8>()?;
    let flow = usize::try_from(u32::from_be_bytes(*flow)).ok()?;
    (*magic == MAGIC).then_some((FlowId(flow), u64::from_be_bytes(*sequence)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_names_its_flow_and_number_and_no_two_are_alike() {
        let payload = |flow, sequence| {
            let mut out = Vec::new();
            append(&mut out, flow, sequence, 100);
            out
        };
        assert_eq!(payload(7, 9).len(), 100);
        assert_eq!(read(&payload(7, 9)), Some((FlowId(7), 9)));
        assert_ne!(payload(7, 9)[MIN_PAYLOAD..], payload(7, 10)[MIN_PAYLOAD..]);
        assert_ne!(payload(7, 9)[MIN_PAYLOAD..], payload(8, 9)[MIN_PAYLOAD..]);
        assert_eq!(read(b"slce"), None);
        assert_eq!(read(&[0; 32]), None);
    }
}
