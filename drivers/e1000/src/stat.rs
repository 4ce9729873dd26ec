//! The names of the device's statistics registers.
//!
//! Key type: [`Stat`], all of the manual's section 13.7 and what the parts on PCI Express have beside it (82574 10.2.7). Plain data.
//! Counts have 32 bits, octets 64 in two registers. QEMU's model has most of them, reads the others as 0, and keeps GPRC a copy of TPR (and
//! GPTC of TPT), so that only the totals add up over several readings.

use crate::variant::{DmaStop, Variant};

macro_rules! statistics {
    ($($name:ident $offset:literal $operator:literal $doc:literal;)*) => {
        /// A statistics register (13.7), cleared by reading. The names of the manual.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Stat {
            $(#[doc = $doc] $name,)*
        }

        impl Stat {
            /// All statistics registers, in the order of their offsets.
            pub const ALL: [Self; [$($offset),*].len()] = [$(Self::$name),*];

            /// Offset of the register in the window; of the lower half if it is [wide](Self::is_wide).
            pub(crate) const fn offset(self) -> u32 {
                match self {
                    $(Self::$name => $offset,)*
                }
            }

            /// Returns the name that FreeBSD's `sysctl dev.em.0.mac_stats` has for it, or one of its kind.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $operator,)*
                }
            }

            /// Returns what it counts.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$name => $doc,)*
                }
            }
        }
    };
}

statistics! {
    Crcerrs 0x4000 "crc_errs" "Frames with a wrong frame check sequence.";
    Algnerrc 0x4004 "alignment_errs" "Frames that do not end at an octet.";
    Symerrs 0x4008 "symbol_errors" "Symbol errors between frames and in them.";
    Rxerrc 0x400c "recv_errs" "Frames during which the PHY said that there is an error.";
    Mpc 0x4010 "missed_packets" "Frames lost for want of a descriptor or of room in the receive FIFO.";
    Scc 0x4014 "single_coll" "Frames sent after one collision.";
    Ecol 0x4018 "excess_coll" "Frames given up after 16 collisions.";
    Mcc 0x401c "multiple_coll" "Frames sent after several collisions.";
    Latecol 0x4020 "late_coll" "Collisions after the first 64 octets.";
    Colc 0x4028 "collision_count" "Collisions.";
    Dc 0x4030 "defer_count" "Times that sending had to wait for the medium.";
    Tncrs 0x4034 "tx_no_crs" "Frames sent without carrier sense.";
    Sec 0x4038 "sequence_errors" "Sequence errors of the receiver (parts with a fibre interface).";
    Cexterr 0x403c "coll_ext_errs" "Frames with an error in their carrier extension.";
    Rlec 0x4040 "recv_length_errors" "Frames whose length was wrong.";
    Xonrxc 0x4048 "xon_recvd" "XON frames received: the other end lets us send again.";
    Xontxc 0x404c "xon_txd" "XON frames sent.";
    Xoffrxc 0x4050 "xoff_recvd" "PAUSE frames received: the other end has us wait.";
    Xofftxc 0x4054 "xoff_txd" "PAUSE frames sent: we had the other end wait.";
    Fcruc 0x4058 "unsupported_fc_recvd" "Flow control frames received that are of another kind.";
    Prc64 0x405c "rx_frames_64" "Good frames received of 64 octets.";
    Prc127 0x4060 "rx_frames_65_127" "Good frames received of 65 to 127 octets.";
    Prc255 0x4064 "rx_frames_128_255" "Good frames received of 128 to 255 octets.";
    Prc511 0x4068 "rx_frames_256_511" "Good frames received of 256 to 511 octets.";
    Prc1023 0x406c "rx_frames_512_1023" "Good frames received of 512 to 1023 octets.";
    Prc1522 0x4070 "rx_frames_1024_max" "Good frames received of 1024 octets and more.";
    Gprc 0x4074 "good_pkts_recvd" "Good frames received.";
    Bprc 0x4078 "bcast_pkts_recvd" "Good broadcast frames received.";
    Mprc 0x407c "mcast_pkts_recvd" "Good multicast frames received.";
    Gptc 0x4080 "good_pkts_txd" "Good frames sent.";
    Gorc 0x4088 "good_octets_recvd" "Octets of good frames received, with FCS.";
    Gotc 0x4090 "good_octets_txd" "Octets of good frames sent, with FCS.";
    Rnbc 0x40a0 "recv_no_buff" "Frames that found no descriptor, but may have waited in the FIFO.";
    Ruc 0x40a4 "recv_undersize" "Frames shorter than 64 octets, with a good FCS.";
    Rfc 0x40a8 "recv_fragmented" "Frames shorter than 64 octets, with a bad FCS.";
    Roc 0x40ac "recv_oversize" "Frames longer than allowed, with a good FCS.";
    Rjc 0x40b0 "recv_jabber" "Frames longer than allowed, with a bad FCS.";
    Mgtprc 0x40b4 "mgmt_pkts_recvd" "Management frames received.";
    Mgtpdc 0x40b8 "mgmt_pkts_drop" "Management frames dropped.";
    Mgtptc 0x40bc "mgmt_pkts_txd" "Management frames sent.";
    Tor 0x40c0 "total_octets_recvd" "Octets of all frames received, with FCS.";
    Tot 0x40c8 "total_octets_txd" "Octets of all frames sent, with FCS.";
    Tpr 0x40d0 "total_pkts_recvd" "Frames received, good or bad.";
    Tpt 0x40d4 "total_pkts_txd" "Frames sent.";
    Ptc64 0x40d8 "tx_frames_64" "Frames sent of 64 octets.";
    Ptc127 0x40dc "tx_frames_65_127" "Frames sent of 65 to 127 octets.";
    Ptc255 0x40e0 "tx_frames_128_255" "Frames sent of 128 to 255 octets.";
    Ptc511 0x40e4 "tx_frames_256_511" "Frames sent of 256 to 511 octets.";
    Ptc1023 0x40e8 "tx_frames_512_1023" "Frames sent of 512 to 1023 octets.";
    Ptc1522 0x40ec "tx_frames_1024_max" "Frames sent of 1024 octets and more.";
    Mptc 0x40f0 "mcast_pkts_txd" "Multicast frames sent.";
    Bptc 0x40f4 "bcast_pkts_txd" "Broadcast frames sent.";
    Tsctc 0x40f8 "tso_txd" "Segmentations done.";
    Tsctfc 0x40fc "tso_ctx_fail" "Segmentations that failed.";
    Iac 0x4100 "asserts" "Interrupts asserted (PCI Express).";
    Icrxptc 0x4104 "rx_pkt_timer" "Interrupts by the receive timer (PCI Express).";
    Icrxatc 0x4108 "rx_abs_timer" "Interrupts by the absolute receive timer (PCI Express).";
    Ictxptc 0x410c "tx_pkt_timer" "Interrupts by the transmit timer (PCI Express).";
    Ictxatc 0x4110 "tx_abs_timer" "Interrupts by the absolute transmit timer (PCI Express).";
    Ictxqec 0x4118 "tx_queue_empty" "Interrupts by an empty transmit queue (PCI Express).";
    Ictxqmtc 0x411c "tx_queue_min_thresh" "Interrupts by a transmit queue below its threshold (PCI Express).";
    Icrxdmtc 0x4120 "rx_desc_min_thresh" "Interrupts by too few receive descriptors (PCI Express).";
    Icrxoc 0x4124 "rx_overrun" "Interrupts by receiver overruns (PCI Express).";
}

impl Stat {
    /// Returns whether it is a count of octets: 64 bits, the upper half in the next register, read last because that clears both.
    #[must_use]
    pub const fn is_wide(self) -> bool {
        matches!(self, Self::Gorc | Self::Gotc | Self::Tor | Self::Tot)
    }

    /// Returns whether a part has it.
    #[must_use]
    pub fn is_on(self, variant: &Variant) -> bool {
        self.offset() < Self::Iac.offset() || variant.dma_stop == DmaStop::MasterDisable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_ascend_and_none_lies_in_the_upper_half_of_another() {
        for pair in Stat::ALL.windows(2) {
            let octets = if pair[0].is_wide() { 8 } else { 4 };
            assert!(pair[0].offset() + octets <= pair[1].offset(), "{pair:?}");
        }
        assert!(Stat::ALL.iter().all(|stat| stat.offset().is_multiple_of(4)));
        assert_eq!((Stat::Crcerrs.offset(), Stat::Tsctfc.offset()), (0x4000, 0x40fc));
    }

    #[test]
    fn no_two_have_one_name() {
        let names: std::collections::HashSet<_> = Stat::ALL.iter().map(|stat| stat.name()).collect();
        assert_eq!(names.len(), Stat::ALL.len());
    }

    #[test]
    fn interrupt_causes_are_counted_on_pci_express_only() {
        let [old, express] = [0x100e, 0x10d3].map(|device| Variant::find(0x8086, device).expect("driven"));
        assert!(Stat::Tpt.is_on(old) && Stat::Tpt.is_on(express));
        assert!(!Stat::Icrxoc.is_on(old) && Stat::Icrxoc.is_on(express));
    }
}
