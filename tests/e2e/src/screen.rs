//! What a machine's screen shows, as text: each character cell compared with the font that the kernel draws with.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result, ensure};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use sluice::guest::Guest;

const WEIGHT: FontWeight = FontWeight::Regular;
const HEIGHT: RasterHeight = RasterHeight::Size16;

/// Returns the rows of the screen, without blanks at their ends; a cell that is no character is `?`.
///
/// # Errors
/// When QEMU takes no picture of it.
pub fn read(guest: &mut Guest) -> Result<Vec<String>> {
    let path = guest.folder().join("screen.ppm");
    // QEMU runs in that folder.
    guest.monitor().execute("screendump", serde_json::json!({ "filename": "screen.ppm" }))?;
    Picture::open(&path).map(|picture| picture.rows())
}

/// A picture of octets in red, green and blue.
struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// Reads a picture in the format PPM: `P6`, width, height, the largest value, each followed by one blank.
    fn open(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path)?;
        let mut rest = bytes.as_slice();
        let mut word = || {
            let end = rest.iter().position(u8::is_ascii_whitespace).context("a header")?;
            let (word, tail) = rest.split_at(end);
            rest = tail.get(1..).context("pixels")?;
            Ok::<_, anyhow::Error>(String::from_utf8_lossy(word).into_owned())
        };
        ensure!(word()? == "P6", "a picture");
        let (width, height) = (word()?.parse::<usize>()?, word()?.parse::<usize>()?);
        ensure!(word()? == "255" && rest.len() == width * height * 3, "{width} x {height} are not {}", rest.len());
        Ok(Self { width, height, pixels: rest.to_vec() })
    }

    fn rows(&self) -> Vec<String> {
        let (wide, high) = (get_raster_width(WEIGHT, HEIGHT), HEIGHT.val());
        let glyph = |letter: char| {
            let rows = get_raster(letter, WEIGHT, HEIGHT)?;
            Some((rows.rows().flat_map(|row| row.iter().copied()).collect::<Vec<u8>>(), letter))
        };
        let font: HashMap<Vec<u8>, char> = (' '..='~').filter_map(glyph).collect();
        let letter = |row: usize, column: usize| {
            let place = |y: usize, x: usize| ((row * high + y) * self.width + column * wide + x) * 3;
            let cell = (0..high).flat_map(|y| (0..wide).map(move |x| (y, x)));
            let cell: Vec<u8> = cell.filter_map(|(y, x)| self.pixels.get(place(y, x)).copied()).collect();
            font.get(&cell).copied().unwrap_or('?')
        };
        let row = |row: usize| (0..self.width / wide).map(|column| letter(row, column)).collect::<String>();
        (0..self.height / high).map(|number| row(number).trim_end().to_owned()).collect()
    }
}
