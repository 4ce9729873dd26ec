//! Text on the loader's framebuffer: a grid of characters in Noto Sans Mono.
//!
//! The screen memory is only ever written, never read (reading it is very slow on real machines): a copy of the characters is kept
//! here. When the last row is full the text jumps up by a quarter of the screen and only cells that changed are drawn again.

use alloc::{vec, vec::Vec};

use bootloader_api::info::{FrameBuffer, FrameBufferInfo, PixelFormat};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

const WEIGHT: FontWeight = FontWeight::Regular;
const HEIGHT: RasterHeight = RasterHeight::Size16;
const CELL_HEIGHT: usize = HEIGHT.val();
const CELL_WIDTH: usize = get_raster_width(WEIGHT, HEIGHT);
/// The largest grid; a larger screen is used in part.
const MAX_COLUMNS: usize = 160;
const MAX_ROWS: usize = 64;
const TAB: usize = 8;

/// The characters on the screen, and the cursor. Pure.
#[derive(Debug)]
struct Grid {
    /// As many rows as are used; on the heap, as a thread's stack is no place for ten kilobytes.
    cells: Vec<[u8; MAX_COLUMNS]>,
    columns: usize,
    rows: usize,
    column: usize,
    row: usize,
}

/// The screen: a grid and the memory it is drawn into.
#[derive(Debug)]
pub(super) struct Screen {
    grid: Grid,
    pixels: Pixels,
}

#[derive(Debug)]
struct Pixels {
    buffer: &'static mut [u8],
    info: FrameBufferInfo,
}

impl Grid {
    fn new(columns: usize, rows: usize) -> Self {
        Self { cells: vec![[b' '; MAX_COLUMNS]; rows], columns, rows, column: 0, row: 0 }
    }

    /// Puts one octet of text on the grid and reports each cell that changed.
    fn put(&mut self, octet: u8, draw: &mut dyn FnMut(usize, usize, u8)) {
        match octet {
            b'\n' => self.new_line(draw),
            b'\r' => self.column = 0,
            0x08 => self.column = self.column.saturating_sub(1),
            b'\t' => {
                for _ in 0..TAB - self.column % TAB {
                    self.put(b' ', draw);
                }
            }
            0x20..=0x7E => {
                if self.column == self.columns {
                    self.new_line(draw);
                }
                self.set(self.row, self.column, octet, draw);
                self.column += 1;
            }
            // Control octets and parts of multi-octet characters have no glyph.
            _ => {}
        }
    }

    fn set(&mut self, row: usize, column: usize, octet: u8, draw: &mut dyn FnMut(usize, usize, u8)) {
        if let Some(cell) = self.cells.get_mut(row).and_then(|cells| cells.get_mut(column))
            && *cell != octet
        {
            *cell = octet;
            draw(row, column, octet);
        }
    }

    fn new_line(&mut self, draw: &mut dyn FnMut(usize, usize, u8)) {
        self.column = 0;
        self.row += 1;
        if self.row < self.rows {
            return;
        }
        let jump = (self.rows / 4).max(1);
        for row in 0..self.rows {
            for column in 0..self.columns {
                let below = self.cells.get(row + jump).filter(|_| row + jump < self.rows);
                let octet = below.and_then(|cells| cells.get(column)).copied().unwrap_or(b' ');
                self.set(row, column, octet, draw);
            }
        }
        self.row = self.rows - jump;
    }
}

impl Screen {
    /// Takes the framebuffer over and clears it; `None` if its pixels cannot be written octet by octet, or it is tiny.
    pub(super) fn new(framebuffer: FrameBuffer) -> Option<Self> {
        let info = framebuffer.info();
        let buffer = framebuffer.into_buffer();
        let supported = matches!(info.pixel_format, PixelFormat::Rgb | PixelFormat::Bgr | PixelFormat::U8);
        let columns = (info.width / CELL_WIDTH).min(MAX_COLUMNS);
        let rows = (info.height / CELL_HEIGHT).min(MAX_ROWS);
        if !supported || columns < TAB || rows < 2 {
            return None;
        }
        buffer.fill(0);
        Some(Self { grid: Grid::new(columns, rows), pixels: Pixels { buffer, info } })
    }

    /// Shows text at the cursor.
    pub(super) fn write(&mut self, text: &[u8]) {
        let Self { grid, pixels } = self;
        for octet in text {
            grid.put(*octet, &mut |row, column, octet| pixels.draw(row, column, octet));
        }
    }
}

impl Pixels {
    /// Draws one character cell in grey on black; the glyph's intensities serve all three colours, so the order is no matter.
    fn draw(&mut self, row: usize, column: usize, octet: u8) {
        let Some(glyph) = get_raster(char::from(octet), WEIGHT, HEIGHT) else { return };
        let depth = self.info.bytes_per_pixel;
        for (y, line) in glyph.rows().enumerate() {
            let start = ((row * CELL_HEIGHT + y) * self.info.stride + column * CELL_WIDTH) * depth;
            let Some(target) = self.buffer.get_mut(start..start + CELL_WIDTH * depth) else { return };
            for (pixel, intensity) in target.chunks_exact_mut(depth).zip(line) {
                pixel.fill(*intensity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{string::String, vec::Vec};

    use super::Grid;

    fn rows(grid: &Grid) -> Vec<String> {
        let line = |row: usize| String::from_utf8_lossy(&grid.cells[row][..grid.columns]).trim_end().into();
        (0..grid.rows).map(line).collect()
    }

    fn write(grid: &mut Grid, text: &str) -> usize {
        let mut drawn = 0;
        text.bytes().for_each(|octet| grid.put(octet, &mut |_, _, _| drawn += 1));
        drawn
    }

    #[test]
    fn lines_wrap_at_the_right_edge_and_jump_at_the_bottom() {
        let mut grid = Grid::new(4, 4);
        write(&mut grid, "abcdef\n3\n4");
        assert_eq!(rows(&grid), ["abcd", "ef", "3", "4"]);
        write(&mut grid, "\n5");
        assert_eq!(rows(&grid), ["ef", "3", "4", "5"]);
    }

    #[test]
    fn only_changed_cells_are_drawn() {
        let mut grid = Grid::new(8, 2);
        assert_eq!(write(&mut grid, "ab cd"), 4, "a blank is there already");
        assert_eq!(write(&mut grid, "\rab"), 0);
    }

    #[test]
    fn backspace_and_control_octets_stay_inside_the_grid() {
        let mut grid = Grid::new(8, 2);
        write(&mut grid, "\x08\x08x\x1b\u{e9}y\ttab");
        assert_eq!(rows(&grid), ["xy", "tab"]);
    }
}
