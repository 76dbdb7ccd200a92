// String instructions (SDM vol. 2: MOVS, STOS, LODS, SCAS, CMPS, INS, OUTS and the REP prefixes). Each
// iteration is complete before the next begins, so a fault or an interrupt between two leaves registers that
// restart the instruction. Runs inside RAM pages are done with the host's own string instructions or a tight
// loop over host memory; MMIO, pages that hold code, and elements that cross a page go one by one through
// LinearMemory.

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    /// <summary>Iterations after which a REP instruction lets interrupts in, with RIP still on it.</summary>
    private const uint StringIterations = 0x1_0000;

    private enum StringOperation
    {
        Move,
        Store,
        Load,
        Scan,
        Compare,
        Input,
        Output,
    }

    /// <summary>One string instruction under way; index registers and count are committed after each
    /// step.</summary>
    private ref struct StringRun
    {
        public StringOperation Operation;
        public SegmentRegister Source;
        public int Size;
        public ulong AddressMask;
        public bool Backwards;
        public bool Repeat;
        /// <summary>REPE/REPNE end when ZF differs from this.</summary>
        public bool WhileZero;

        public readonly bool UsesSource =>
            Operation is StringOperation.Move or StringOperation.Load or StringOperation.Compare
                or StringOperation.Output;

        public readonly bool UsesDestination =>
            Operation is not (StringOperation.Load or StringOperation.Output);

        public readonly bool Compares => Operation is StringOperation.Scan or StringOperation.Compare;
    }

    /// <summary>Executes a string instruction. RIP becomes <paramref name="next"/>, or stays on the
    /// instruction if iterations are left.</summary>
    private Outcome ExecuteString(in Instruction instruction, StringOperation operation, int size, ulong next)
    {
        StringRun run = Prepare(instruction, operation, size);
        ulong count = run.Repeat ? _state->Gpr[Ecx] & run.AddressMask : 1;
        uint port = (ushort)_state->Gpr[Edx];
        bool usesPort = operation is StringOperation.Input or StringOperation.Output;
        if (count != 0 && usesPort && !TryCheckPort(port, size))
        {
            return Outcome.Fault;
        }

        // A single-step or data breakpoint trap comes after each iteration. Emitted code compares up to the
        // end of a page, far faster than the loop here, and needs C# for the element behind it only.
        bool single = (_state->SystemFlags & EflagsBits.Trap) != 0 || HasDataBreakpoints
            || (run.Compares && run.Repeat && !run.Backwards && ResumesInEmittedCode);
        uint budget = single ? 1 : StringIterations;
        while (count != 0 && budget != 0)
        {
            uint wanted = count < budget ? (uint)count : budget;
            if (!TryStep(ref run, wanted, out uint done, out bool ended))
            {
                return Outcome.Fault;
            }

            Advance(ref run, done);
            count -= done;
            budget -= done;
            if (run.Repeat)
            {
                WriteAddressRegister(Ecx, count, run.AddressMask);
            }

            if (ended)
            {
                count = 0;
            }
        }

        if (count == 0)
        {
            _state->Rip = next;
        }

        return Outcome.Done;
    }

    /// <summary>Emitted code has a form of the repeated string instruction that runs (see
    /// InstructionClasses.IsEmittedString).</summary>
    private bool ResumesInEmittedCode
    {
        get
        {
            const uint wanted = ModeKey.Flat | ModeKey.Code32 | ModeKey.FsOpen | ModeKey.GsOpen;
            const uint longCode = wanted | ModeKey.Long;
            return (_state->ModeKey & (longCode | ModeKey.SingleStep)) == longCode;
        }
    }

    private StringRun Prepare(in Instruction instruction, StringOperation operation, int size)
    {
        ulong mask = uint.MaxValue;
        for (int i = 0; i < instruction.OpCount; i++)
        {
            mask = instruction.GetOpKind(i) switch
            {
                OpKind.MemorySegSI or OpKind.MemoryESDI => 0xFFFF,
                OpKind.MemorySegRSI or OpKind.MemoryESRDI => ulong.MaxValue,
                _ => mask,
            };
        }

        var run = new StringRun
        {
            Operation = operation,
            Size = size,
            AddressMask = mask,
            Backwards = _state->DirectionStep < 0,
            Repeat = instruction.HasRepPrefix || instruction.HasRepnePrefix,
            WhileZero = !instruction.HasRepnePrefix,
        };
        if (run.UsesSource)
        {
            run.Source = SegmentOf(instruction);
        }

        return run;
    }

    /// <summary>Moves SI and DI by <paramref name="count"/> elements.</summary>
    private void Advance(ref StringRun run, uint count)
    {
        ulong distance = count * (ulong)run.Size;
        distance = run.Backwards ? 0 - distance : distance;
        if (run.UsesSource)
        {
            WriteAddressRegister(Esi, _state->Gpr[Esi] + distance, run.AddressMask);
        }

        if (run.UsesDestination)
        {
            WriteAddressRegister(Edi, _state->Gpr[Edi] + distance, run.AddressMask);
        }
    }

    /// <summary>A 16-bit address register keeps the rest of the register, a 32-bit one clears the upper
    /// half.</summary>
    private void WriteAddressRegister(int register, ulong value, ulong mask)
    {
        ulong old = _state->Gpr[register];
        _state->Gpr[register] = mask == 0xFFFF ? (old & ~mask) | (value & mask) : value & mask;
    }

    /// <summary>Does at least one and up to <paramref name="wanted"/> iterations. <paramref name="ended"/>:
    /// the condition of REPE or REPNE came true. False: the first of them faulted.</summary>
    private bool TryStep(ref StringRun run, uint wanted, out uint done, out bool ended)
    {
        ended = false;
        if (wanted > 1 && run.Operation <= StringOperation.Compare
            && TryChunk(ref run, wanted, out done, out ended))
        {
            return true;
        }

        done = 1;
        if (!TryElement(ref run))
        {
            return false;
        }

        ended = run.Compares && run.Repeat
            && ((_state->ArithFlags & EflagsBits.Zero) != 0) != run.WhileZero;
        return true;
    }

    /// <summary>One iteration through LinearMemory.</summary>
    private bool TryElement(ref StringRun run)
    {
        int size = run.Size;
        bool user = IsUser;
        ulong source = 0, target = 0, value = 0;
        ulong sourceOffset = _state->Gpr[Esi] & run.AddressMask;
        ulong targetOffset = _state->Gpr[Edi] & run.AddressMask;
        if (run.UsesSource && (!TryLinearize(run.Source, sourceOffset, size, write: false, out source)
            || !_memory.TryRead(source, size, user, out value)))
        {
            return false;
        }

        if (run.UsesDestination
            && !TryLinearize(SegmentRegister.Es, targetOffset, size, !run.Compares, out target))
        {
            return false;
        }

        ushort port = (ushort)_state->Gpr[Edx];
        switch (run.Operation)
        {
            case StringOperation.Move:
                return _memory.TryWrite(target, size, value, user);
            case StringOperation.Store:
                return _memory.TryWrite(target, size, _state->Gpr[Eax], user);
            case StringOperation.Load:
                WriteGpr(Eax, size, value);
                return true;
            case StringOperation.Input:
                // A port read cannot be taken back, so the store is proved possible first.
                return _memory.TryProbeWrite(target, size, user)
                    && _memory.TryWrite(target, size, _bus.ReadPort(port, size), user);
            case StringOperation.Output:
                _bus.WritePort(port, size, (uint)value);
                return true;
        }

        if (!_memory.TryRead(target, size, user, out ulong other))
        {
            return false;
        }

        ulong minuend = run.Operation == StringOperation.Scan ? _state->Gpr[Eax] : value;
        SetCompareFlags(minuend, other, size);
        return true;
    }

    /// <summary>
    /// Does a run of elements that lies in one RAM page on each side. False: no such run (nothing done,
    /// whatever is recorded is void); the single step decides.
    /// </summary>
    private bool TryChunk(ref StringRun run, uint wanted, out uint done, out bool ended)
    {
        done = 0;
        ended = false;
        byte* source = null;
        byte* target = null;
        uint count = wanted;
        if (run.UsesSource
            && !TryHostRun(ref run, run.Source, _state->Gpr[Esi], write: false, ref count, out source))
        {
            return false;
        }

        if (run.UsesDestination
            && !TryHostRun(ref run, SegmentRegister.Es, _state->Gpr[Edi], !run.Compares, ref count,
                out target))
        {
            return false;
        }

        done = count;
        switch (run.Operation)
        {
            case StringOperation.Move:
                MoveElements(target, source, count, run.Size, run.Backwards);
                break;
            case StringOperation.Store:
                byte* lowest = run.Backwards ? target - ((count - 1) * (uint)run.Size) : target;
                _native.RepStos(lowest, _state->Gpr[Eax], count, run.Size);
                break;
            case StringOperation.Load:
                long last = (long)(count - 1) * run.Size;
                WriteGpr(Eax, run.Size, ReadElement(source + (run.Backwards ? -last : last), run.Size));
                break;
            default:
                done = CompareElements(ref run, source, target, count, out ended);
                break;
        }

        return true;
    }

    /// <summary>Host address of the first element, and <paramref name="count"/> cut down to the elements that
    /// follow it (in the direction of the run) in its page and before the offset wraps.</summary>
    private bool TryHostRun(ref StringRun run, SegmentRegister register, ulong offset, bool write,
        ref uint count, out byte* host)
    {
        host = null;
        offset &= run.AddressMask;
        uint size = (uint)run.Size;
        ulong room = (run.Backwards ? offset : run.AddressMask - offset) / size;
        count = room < count ? (uint)room : count;
        uint page = (uint)(_state->Segment(register).Base + offset) & 4095;
        if (IsLongCode && register is not (SegmentRegister.Fs or SegmentRegister.Gs))
        {
            page = (uint)offset & 4095;
        }

        if (page + size > 4096)
        {
            return false;
        }

        uint inPage = run.Backwards ? (page / size) + 1 : (4096 - page) / size;
        count = inPage < count ? inPage : count;
        uint bytes = count * size;
        ulong lowest = run.Backwards ? offset - (bytes - size) : offset;
        if (count < 2 || !TryLinearize(register, lowest, (int)bytes, write, out ulong linear))
        {
            return false;
        }

        linear += run.Backwards ? bytes - size : 0;
        return _memory.TryGetRun(linear, write, IsUser, out host, out _, out _);
    }

    private void MoveElements(byte* target, byte* source, uint count, int size, bool backwards)
    {
        if (!backwards)
        {
            _native.RepMovs(target, source, count, size);
            return;
        }

        for (; count != 0; count--)
        {
            switch (size)
            {
                case 1:
                    *target = *source;
                    break;
                case 2:
                    *(ushort*)target = *(ushort*)source;
                    break;
                case 4:
                    *(uint*)target = *(uint*)source;
                    break;
                default:
                    *(ulong*)target = *(ulong*)source;
                    break;
            }

            target -= size;
            source -= size;
        }
    }

    /// <summary>SCAS and CMPS over host memory until the REP condition ends them; flags are those of the last
    /// comparison.</summary>
    private uint CompareElements(ref StringRun run, byte* source, byte* target, uint count, out bool ended)
    {
        int size = run.Size;
        int step = run.Backwards ? -size : size;
        ulong accumulator = _state->Gpr[Eax] & (ulong.MaxValue >> (64 - (size * 8)));
        ulong left = 0, right = 0;
        uint done = 0;
        ended = false;
        while (done < count && !ended)
        {
            left = run.Operation == StringOperation.Scan ? accumulator : ReadElement(source, size);
            right = ReadElement(target, size);
            source += step;
            target += step;
            done++;
            ended = (left == right) != run.WhileZero;
        }

        SetCompareFlags(left, right, size);
        return done;
    }

    private static ulong ReadElement(byte* at, int size) => size switch
    {
        1 => *at,
        2 => *(ushort*)at,
        4 => *(uint*)at,
        _ => *(ulong*)at,
    };

    /// <summary>The flags of CMP.</summary>
    private void SetCompareFlags(ulong left, ulong right, int size)
    {
        int shift = 64 - (size * 8);
        ulong a = left << shift;
        ulong b = right << shift;
        ulong result = a - b;
        uint flags = a < b ? EflagsBits.Carry : 0;
        flags |= result == 0 ? EflagsBits.Zero : 0;
        flags |= (result >> 63) != 0 ? EflagsBits.Sign : 0;
        flags |= (((a ^ b) & (a ^ result)) >> 63) != 0 ? EflagsBits.Overflow : 0;
        flags |= (uint)(left ^ right ^ (left - right)) & EflagsBits.Adjust;
        _state->ArithFlags = flags | ParityOf((byte)(left - right));
    }

    /// <summary>PF: set if the low byte has an even number of ones.</summary>
    private static uint ParityOf(byte value) =>
        (System.Numerics.BitOperations.PopCount(value) & 1) == 0 ? EflagsBits.Parity : 0;
}
