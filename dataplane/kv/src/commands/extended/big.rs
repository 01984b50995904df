//! Natural numbers of any size: just what reading and printing decimals takes.

use std::cmp::Ordering;

/// A natural number, least significant word first, without leading zero words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Big {
    words: Vec<u32>,
}

impl Big {
    pub(super) fn new(value: u64) -> Self {
        let mut big = Self { words: vec![value as u32, (value >> 32) as u32] };
        big.trim();
        big
    }

    fn trim(&mut self) {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.words.is_empty()
    }

    /// Number of bits.
    pub(super) fn bits(&self) -> i64 {
        let top = self.words.last().map_or(0, |word| 32 - i64::from(word.leading_zeros()));
        (self.words.len() as i64 - 1).max(0) * 32 + top
    }

    pub(super) fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for word in &mut self.words {
            carry += u64::from(*word) * u64::from(factor);
            *word = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.words.push(carry as u32);
        }
    }

    pub(super) fn times_power_of_ten(mut self, power: usize) -> Self {
        (0..power / 9).for_each(|_| self.multiply_add(1_000_000_000, 0));
        self.multiply_add(10_u32.pow((power % 9) as u32), 0);
        self
    }

    pub(super) fn shifted_left(mut self, bits: usize) -> Self {
        if self.is_zero() {
            return self;
        }
        let small = bits % 32;
        if small > 0 {
            self.multiply_add(1 << small, 0);
        }
        self.words.splice(0..0, std::iter::repeat_n(0, bits / 32));
        self
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_len = self.words.len().cmp(&other.words.len());
        by_len.then_with(|| self.words.iter().rev().cmp(other.words.iter().rev()))
    }

    fn subtract(&mut self, other: &Self) {
        let mut borrow = 0_i64;
        for (at, word) in self.words.iter_mut().enumerate() {
            let other = other.words.get(at).copied().unwrap_or(0);
            let difference = i64::from(*word) - i64::from(other) + borrow;
            *word = difference as u32;
            borrow = difference >> 32;
        }
        self.trim();
    }

    fn halve(&mut self) {
        let mut carry = 0;
        for word in self.words.iter_mut().rev() {
            let next = *word << 31;
            *word = *word >> 1 | carry;
            carry = next;
        }
        self.trim();
    }

    /// Quotient and whether something remains; the quotient must have at most 128 bits.
    pub(super) fn divide(mut self, divisor: &Self) -> (u128, bool) {
        let steps = (self.bits() - divisor.bits()).max(0) as usize;
        let mut shifted = divisor.clone().shifted_left(steps);
        let mut quotient = 0_u128;
        for _ in 0..=steps {
            quotient <<= 1;
            if self.compare(&shifted) != Ordering::Less {
                self.subtract(&shifted);
                quotient |= 1;
            }
            shifted.halve();
        }
        (quotient, !self.is_zero())
    }

    /// The top 128 bits, how many bits lie below them, and whether any of those is set.
    pub(super) fn top(&self) -> (u128, i64, bool) {
        let below = (self.words.len() as i64 - 4).max(0) as usize;
        let top = self.words[below..].iter().rev().fold(0, |top, w| top << 32 | u128::from(*w));
        (top, below as i64 * 32, self.words[..below].iter().any(|word| *word != 0))
    }

    /// Decimal digits.
    pub(super) fn to_text(&self) -> Vec<u8> {
        let mut words = self.words.clone();
        let mut digits = Vec::new();
        while !words.is_empty() {
            let mut rest = 0_u64;
            for word in words.iter_mut().rev() {
                let value = rest << 32 | u64::from(*word);
                *word = (value / 1_000_000_000) as u32;
                rest = value % 1_000_000_000;
            }
            while words.last() == Some(&0) {
                words.pop();
            }
            for _ in 0..9 {
                digits.push(b'0' + (rest % 10) as u8);
                rest /= 10;
            }
        }
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            digits.push(b'0');
        }
        digits.reverse();
        digits
    }
}
