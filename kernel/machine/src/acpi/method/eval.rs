//! The evaluator: statements, terms, targets. One function per group of operators; recursion is bounded by depth.

use alloc::vec::Vec;

use super::{
    MethodError, Value,
    cursor::{Cursor, begins_name},
};

/// A table of 128 lines takes about 5000 steps.
const MOST_STEPS: u32 = 200_000;
const DEEPEST: u32 = 32;
/// Elements a stored value may have in all; a package stored into itself doubles each time.
const HEAVIEST: usize = 8_192;

/// What a statement does to the flow.
enum Flow {
    Next,
    Break,
    Continue,
    Return(Value),
}

/// Where a store goes.
enum Target {
    Nowhere,
    Local(usize),
    Element(usize, usize),
}

pub(super) struct Evaluator<'a> {
    locals: [Value; 8],
    steps: u32,
    depth: u32,
    resolve: &'a mut dyn FnMut(&str) -> Option<Value>,
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(resolve: &'a mut dyn FnMut(&str) -> Option<Value>) -> Self {
        Self { locals: Default::default(), steps: 0, depth: 0, resolve }
    }

    pub(super) fn run(&mut self, code: &[u8]) -> Result<Value, MethodError> {
        match self.block(Cursor::new(code))? {
            Flow::Return(value) => Ok(value),
            _ => Ok(Value::Nothing),
        }
    }

    fn step(&mut self) -> Result<(), MethodError> {
        self.steps += 1;
        if self.steps > MOST_STEPS { Err(MethodError::TooLong) } else { Ok(()) }
    }

    fn block(&mut self, mut code: Cursor<'_>) -> Result<Flow, MethodError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(MethodError::TooLong);
        }
        while !code.is_empty() {
            match self.statement(&mut code)? {
                Flow::Next => {}
                other => {
                    self.depth -= 1;
                    return Ok(other);
                }
            }
        }
        self.depth -= 1;
        Ok(Flow::Next)
    }

    fn statement(&mut self, code: &mut Cursor<'_>) -> Result<Flow, MethodError> {
        self.step()?;
        match code.peek().ok_or(MethodError::Truncated)? {
            0xA0 => self.conditional(code),
            0xA2 => self.repetition(code),
            0xA3 => code.byte().map(|_| Flow::Next),
            0xA4 => {
                code.byte()?;
                self.term(code).map(Flow::Return)
            }
            0xA5 => code.byte().map(|_| Flow::Break),
            0x9F => code.byte().map(|_| Flow::Continue),
            _ => self.term(code).map(|_| Flow::Next),
        }
    }

    /// If, with its Else.
    fn conditional(&mut self, code: &mut Cursor<'_>) -> Result<Flow, MethodError> {
        code.byte()?;
        let mut body = code.block()?;
        let holds = self.number(&mut body)? != 0;
        let otherwise = if code.peek() == Some(0xA1) {
            code.byte()?;
            Some(code.block()?)
        } else {
            None
        };
        match (holds, otherwise) {
            (true, _) => self.block(body),
            (false, Some(otherwise)) => self.block(otherwise),
            (false, None) => Ok(Flow::Next),
        }
    }

    fn repetition(&mut self, code: &mut Cursor<'_>) -> Result<Flow, MethodError> {
        code.byte()?;
        let whole = code.block()?;
        loop {
            self.step()?;
            let mut body = whole;
            if self.number(&mut body)? == 0 {
                return Ok(Flow::Next);
            }
            match self.block(body)? {
                Flow::Next | Flow::Continue => {}
                Flow::Break => return Ok(Flow::Next),
                done @ Flow::Return(_) => return Ok(done),
            }
        }
    }

    fn number(&mut self, code: &mut Cursor<'_>) -> Result<u64, MethodError> {
        match self.term(code)? {
            Value::Integer(number) => Ok(number),
            _ => Err(MethodError::WrongType),
        }
    }

    /// Anything that has a value.
    fn term(&mut self, code: &mut Cursor<'_>) -> Result<Value, MethodError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(MethodError::TooLong);
        }
        self.step()?;
        let value = self.term_inside(code);
        self.depth -= 1;
        value
    }

    fn term_inside(&mut self, code: &mut Cursor<'_>) -> Result<Value, MethodError> {
        let first = code.peek().ok_or(MethodError::Truncated)?;
        if begins_name(first) {
            let name = code.name()?;
            return (self.resolve)(&name).ok_or(MethodError::Unresolved);
        }
        code.byte()?;
        match first {
            0x00 => Ok(Value::Integer(0)),
            0x01 => Ok(Value::Integer(1)),
            0xFF => Ok(Value::Integer(u64::MAX)),
            0x0A => code.integer(1).map(Value::Integer),
            0x0B => code.integer(2).map(Value::Integer),
            0x0C => code.integer(4).map(Value::Integer),
            0x0E => code.integer(8).map(Value::Integer),
            0x0D => code.string().map(Value::Name),
            0x12 => self.package(code),
            0x60..=0x67 => Ok(self.locals[usize::from(first - 0x60)].clone()),
            0x70 => {
                let value = self.term(code)?;
                self.store_next(code, value)
            }
            0x83 => self.dereference(code),
            0x75 | 0x76 => self.count(code, first == 0x75),
            0x80 | 0x92 => self.unary(code, first),
            0x72 | 0x74 | 0x77 | 0x79..=0x7F | 0x90 | 0x91 | 0x93..=0x95 => self.binary(code, first),
            opcode => Err(MethodError::Unsupported { opcode }),
        }
    }

    fn package(&mut self, code: &mut Cursor<'_>) -> Result<Value, MethodError> {
        let mut body = code.block()?;
        let count = usize::from(body.byte()?);
        let mut elements: Vec<Value> = Vec::with_capacity(count);
        while !body.is_empty() {
            if elements.len() == count {
                return Err(MethodError::OutOfBounds);
            }
            let named = body.peek().is_some_and(begins_name);
            elements.push(if named { Value::Name(body.name()?) } else { self.term(&mut body)? });
        }
        elements.resize(count, Value::Nothing);
        Ok(Value::Package(elements))
    }

    fn unary(&mut self, code: &mut Cursor<'_>, opcode: u8) -> Result<Value, MethodError> {
        let operand = self.number(code)?;
        if opcode == 0x92 {
            return Ok(truth(operand == 0));
        }
        self.store_next(code, Value::Integer(!operand))
    }

    fn binary(&mut self, code: &mut Cursor<'_>, opcode: u8) -> Result<Value, MethodError> {
        let (left, right) = (self.number(code)?, self.number(code)?);
        // A shift by the width or more leaves nothing.
        let shift = u32::try_from(right).unwrap_or(u32::MAX);
        let result = match opcode {
            0x72 => left.wrapping_add(right),
            0x74 => left.wrapping_sub(right),
            0x77 => left.wrapping_mul(right),
            0x79 => left.checked_shl(shift).unwrap_or(0),
            0x7A => left.checked_shr(shift).unwrap_or(0),
            0x7B => left & right,
            0x7C => !(left & right),
            0x7D => left | right,
            0x7E => !(left | right),
            0x7F => left ^ right,
            0x90 => return Ok(truth(left != 0 && right != 0)),
            0x91 => return Ok(truth(left != 0 || right != 0)),
            0x93 => return Ok(truth(left == right)),
            0x94 => return Ok(truth(left > right)),
            0x95 => return Ok(truth(left < right)),
            _ => return Err(MethodError::Unsupported { opcode }),
        };
        self.store_next(code, Value::Integer(result))
    }

    fn count(&mut self, code: &mut Cursor<'_>, up: bool) -> Result<Value, MethodError> {
        let target = self.target(code)?;
        let Value::Integer(old) = self.read(&target)? else { return Err(MethodError::WrongType) };
        let new = Value::Integer(if up { old.wrapping_add(1) } else { old.wrapping_sub(1) });
        self.write(&target, new.clone())?;
        Ok(new)
    }

    fn dereference(&mut self, code: &mut Cursor<'_>) -> Result<Value, MethodError> {
        let target = self.target(code)?;
        self.read(&target)
    }

    fn store_next(&mut self, code: &mut Cursor<'_>, value: Value) -> Result<Value, MethodError> {
        let target = self.target(code)?;
        self.write(&target, value.clone())?;
        Ok(value)
    }

    fn target(&mut self, code: &mut Cursor<'_>) -> Result<Target, MethodError> {
        match code.byte()? {
            0x00 => Ok(Target::Nowhere),
            local @ 0x60..=0x67 => Ok(Target::Local(usize::from(local - 0x60))),
            0x88 => {
                let Target::Local(local) = self.target(code)? else { return Err(MethodError::WrongType) };
                let index = usize::try_from(self.number(code)?).map_err(|_| MethodError::OutOfBounds)?;
                // Index has a target of its own, for the reference; only "none" is understood.
                match code.byte()? {
                    0x00 => Ok(Target::Element(local, index)),
                    opcode => Err(MethodError::Unsupported { opcode }),
                }
            }
            opcode => Err(MethodError::Unsupported { opcode }),
        }
    }

    fn slot(&mut self, target: &Target) -> Result<Option<&mut Value>, MethodError> {
        match *target {
            Target::Nowhere => Ok(None),
            Target::Local(local) => Ok(self.locals.get_mut(local)),
            Target::Element(local, index) => match self.locals.get_mut(local) {
                Some(Value::Package(elements)) => elements.get_mut(index).map(Some).ok_or(MethodError::OutOfBounds),
                _ => Err(MethodError::WrongType),
            },
        }
    }

    fn read(&mut self, target: &Target) -> Result<Value, MethodError> {
        self.slot(target)?.map(|value| value.clone()).ok_or(MethodError::WrongType)
    }

    fn write(&mut self, target: &Target, value: Value) -> Result<(), MethodError> {
        if matches!(target, Target::Element(..)) && weight(&value) > HEAVIEST {
            return Err(MethodError::TooLong);
        }
        if let Some(slot) = self.slot(target)? {
            *slot = value;
        }
        Ok(())
    }
}

/// Elements of a value, nested ones included.
fn weight(value: &Value) -> usize {
    match value {
        Value::Package(elements) => elements.iter().fold(1, |sum, element| sum + weight(element)),
        _ => 1,
    }
}

/// True is all ones in bytecode.
fn truth(value: bool) -> Value {
    Value::Integer(if value { u64::MAX } else { 0 })
}
