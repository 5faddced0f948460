//! The two kinds of memory that instructions run over: RAM and flash only, fast; and the whole system bus.

use super::{
    RAM_BASE, Size,
    cpu::{Memory, Trap, bits},
    memo::Watched,
    nv::NvMemory,
    soc::{RAM, Soc},
};

/// RAM and flash reads, RAM writes; everything else is refused and left to the system bus.
pub(super) struct Fast<'a> {
    pub(super) ram: &'a mut [u8; RAM],
    pub(super) nv: &'a NvMemory,
    /// A call whose writes are noted.
    pub(super) watched: Option<&'a mut Watched>,
}

impl Fast<'_> {
    /// Place in RAM of `count` words at `address`, if they are aligned and all there.
    #[inline]
    fn words(address: u32, count: u32) -> Option<std::ops::Range<usize>> {
        // Turned round, an address that is not aligned lies far outside.
        let start = address.wrapping_sub(RAM_BASE).rotate_right(2) as usize;
        let end = start.checked_add(count as usize)?;
        (end <= RAM / 4).then_some(start..end)
    }

    #[inline]
    fn load<const N: usize>(&self, address: u32) -> Result<[u8; N], Trap> {
        let mut out = [0; N];
        if address as usize & (N - 1) != 0 {
            return Err(Trap::Refused);
        }
        let offset = address.wrapping_sub(RAM_BASE) as usize;
        if let Some(bytes) = self.ram.get(offset..offset.wrapping_add(N)) {
            out.copy_from_slice(bytes);
            return Ok(out);
        }
        let page = self.nv.page_bytes(address).ok_or(Trap::Refused)?;
        let within = (address & 1023) as usize;
        out.copy_from_slice(page.get(within..within + N).ok_or(Trap::Refused)?);
        Ok(out)
    }

    #[inline]
    fn store<const N: usize>(&mut self, address: u32, value: [u8; N]) -> Result<(), Trap> {
        let offset = address.wrapping_sub(RAM_BASE) as usize;
        if address as usize & (N - 1) != 0 {
            return Err(Trap::Refused);
        }
        self.ram.get_mut(offset..offset.wrapping_add(N)).ok_or(Trap::Refused)?.copy_from_slice(&value);
        if let Some(watched) = &mut self.watched {
            watched.note(offset, N);
        }
        Ok(())
    }
}

impl Memory for Fast<'_> {
    const FULL: bool = false;

    #[inline]
    fn load32(&mut self, address: u32) -> Result<u32, Trap> {
        self.load(address).map(u32::from_le_bytes)
    }
    #[inline]
    fn load16(&mut self, address: u32) -> Result<u32, Trap> {
        self.load(address).map(|bytes| u32::from(u16::from_le_bytes(bytes)))
    }
    #[inline]
    fn load8(&mut self, address: u32) -> Result<u32, Trap> {
        self.load(address).map(|[byte]| u32::from(byte))
    }
    #[inline]
    fn store32(&mut self, address: u32, value: u32) -> Result<(), Trap> {
        self.store(address, value.to_le_bytes())
    }
    #[inline]
    fn store16(&mut self, address: u32, value: u32) -> Result<(), Trap> {
        self.store(address, (value as u16).to_le_bytes())
    }
    #[inline]
    fn store8(&mut self, address: u32, value: u32) -> Result<(), Trap> {
        self.store(address, [value as u8])
    }

    #[inline]
    fn store_list(&mut self, r: &[u32; 16], base: u32, list: u32) -> Result<(), Trap> {
        let range = Self::words(base, list.count_ones()).ok_or(Trap::Refused)?;
        if let Some(watched) = &mut self.watched {
            watched.note(4 * range.start, 4 * range.len());
        }
        let words = self.ram.as_chunks_mut::<4>().0.get_mut(range).ok_or(Trap::Refused)?;
        for (word, index) in words.iter_mut().zip(bits(list)) {
            *word = r[index & 15].to_le_bytes();
        }
        Ok(())
    }

    #[inline]
    fn load_list(&mut self, r: &mut [u32; 16], base: u32, list: u32) -> Result<(), Trap> {
        let range = Self::words(base, list.count_ones()).ok_or(Trap::Refused)?;
        let words = self.ram.as_chunks::<4>().0.get(range).ok_or(Trap::Refused)?;
        for (word, index) in words.iter().zip(bits(list)) {
            r[index & 15] = u32::from_le_bytes(*word);
        }
        Ok(())
    }
}

/// The whole system bus at device time `now`.
pub(super) struct Full<'a> {
    pub(super) soc: &'a mut Soc,
    pub(super) now: u64,
    pub(super) watched: Option<&'a mut Watched>,
}

impl Full<'_> {
    fn load(&mut self, address: u32, size: Size) -> Result<u32, Trap> {
        self.soc.read(address, size, self.now).ok_or(Trap::Refused)
    }

    fn store(&mut self, address: u32, size: Size, value: u32) -> Result<(), Trap> {
        let debugging = self.soc.debug.enabled;
        self.soc.write(address, size, value & size.mask(), self.now, debugging).ok_or(Trap::Refused)?;
        if let Some(watched) = &mut self.watched {
            let offset = address.wrapping_sub(RAM_BASE) as usize;
            if offset < RAM {
                watched.note(offset, size.bytes() as usize);
            }
        }
        Ok(())
    }
}

impl Memory for Full<'_> {
    const FULL: bool = true;

    fn load32(&mut self, address: u32) -> Result<u32, Trap> {
        self.load(address, Size::Word)
    }
    fn load16(&mut self, address: u32) -> Result<u32, Trap> {
        self.load(address, Size::Half)
    }
    fn load8(&mut self, address: u32) -> Result<u32, Trap> {
        self.load(address, Size::Byte)
    }
    fn store32(&mut self, address: u32, value: u32) -> Result<(), Trap> {
        self.store(address, Size::Word, value)
    }
    fn store16(&mut self, address: u32, value: u32) -> Result<(), Trap> {
        self.store(address, Size::Half, value)
    }
    fn store8(&mut self, address: u32, value: u32) -> Result<(), Trap> {
        self.store(address, Size::Byte, value)
    }
}
