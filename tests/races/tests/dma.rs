//! Races between a device's DMA and the end. The scenarios stand in `src/scenarios/dma.rs`.

races::hold! {
    r03_dma_of_a_device_that_obeys_nothing_but_its_reset
    r03_a_write_to_freed_memory_is_found_by_the_tripwire
    r04_transmit_completion_after_the_stop
    r15_bus_mastering_that_cannot_be_switched_off_is_named
    r16_a_device_that_never_acknowledges_its_reset_keeps_its_memory
    r16_a_device_that_never_acknowledges_master_disable_keeps_its_memory
    r17_a_device_removed_at_any_instant
}
