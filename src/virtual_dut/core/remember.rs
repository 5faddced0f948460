//! Calls answered from memory instead of being executed ([`VerifyMemo`](super::super::VerifyMemo)).

use std::mem;

use super::super::{
    FLASH_SIZE, RAM_BASE,
    cpu::Registers,
    machine::Machine,
    memo::{Effect, Key, MESSAGE_LIMIT, Watched},
    soc::RAM,
};

impl Machine {
    /// At the entry of a remembered function: answers from memory, or begins to watch. At its return: learns. Whether time has been used.
    pub(super) fn remember(&mut self) -> bool {
        let pc = self.core.registers.pc;
        if let Some(watched) = &self.watched {
            if watched.return_to == pc && watched.sp == self.core.registers.r[13] {
                self.learn();
            }
            return false;
        }
        let Some((entry, memo)) = &self.memo else { return false };
        if *entry != pc {
            return false;
        }
        let memo = memo.clone();
        let Some(key) = self.call_key() else {
            // Cannot be remembered: step over the entry so that the fast loop does not stop there again.
            self.slow();
            return true;
        };
        if let Some(effect) = memo.find(&key) {
            for (at, value) in &effect.written {
                if let Some(byte) = self.soc.ram.get_mut(usize::from(*at)) {
                    *byte = *value;
                }
            }
            let mut r = effect.r;
            let pc = mem::take(&mut r[15]);
            self.core.registers = Registers { r, flags: effect.flags, pc };
            self.core.busy_until = self.now + effect.cycles;
            self.instructions += effect.instructions;
            return true;
        }
        let r = &self.core.registers.r;
        self.watched = Some(Watched {
            key,
            return_to: r[14] & !1,
            sp: r[13],
            cycles: self.now,
            instructions: self.instructions,
            written: Box::new([0; RAM / 64]),
        });
        self.slow();
        true
    }

    fn learn(&mut self) {
        let (Some(watched), Some((_, memo))) = (self.watched.take(), &self.memo) else { return };
        let mut r = self.core.registers.r;
        // Unused by instructions: here it carries the address to go on at.
        r[15] = self.core.registers.pc;
        let effect = Effect {
            r,
            flags: self.core.registers.flags,
            cycles: self.now - watched.cycles,
            instructions: self.instructions - watched.instructions,
            written: watched.collect(&self.soc.ram),
        };
        memo.learn(watched.key, effect);
    }

    /// Digest of everything the call can depend on: registers, arguments in memory, the code. `None` if interrupts could come between, or an
    /// argument is not in plain memory. The call must not read stack that it has not written.
    fn call_key(&self) -> Option<Key> {
        let interruptible = self.soc.nvic.enabled() != 0 || self.soc.systick.interrupts();
        if !self.core.primask && interruptible || self.soc.debug.enabled {
            return None;
        }
        let r = &self.core.registers.r;
        let [signature, key, message, length] = [r[0], r[1], r[2], r[3]];
        if length > MESSAGE_LIMIT {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        for register in &r[..15] {
            hasher.update(&register.to_le_bytes());
        }
        for (address, len) in [(signature, 64), (key, 32), (message, length)] {
            let offset = address.wrapping_sub(RAM_BASE) as usize;
            if let Some(bytes) = self.soc.ram.get(offset..offset.wrapping_add(len as usize)) {
                hasher.update(bytes);
                continue;
            }
            // Flash content enters by the page: its digest is at hand, the bytes need not be touched.
            let end = address.checked_add(len).filter(|end| *end <= FLASH_SIZE)?;
            let (mut at, mut left) = (address, len);
            while left > 0 {
                let page = self.soc.nv.page_bytes(at)?;
                let within = (at & 1023) as usize;
                let take = (1024 - within).min(left as usize);
                hasher.update(&page[within..within + take]);
                at += take as u32;
                left -= take as u32;
            }
            debug_assert!(at == end);
        }
        for page in 0..24 {
            hasher.update(&self.soc.nv.page(page * 1024)?.digest().to_le_bytes());
        }
        Some(*hasher.finalize().as_bytes())
    }
}
