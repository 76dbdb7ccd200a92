// The stack of a 64-bit kernel without a TLB check for each access. CpuState remembers the page that the
// stack was in last, with its host address (StackTag, StackDelta). It holds only pages that the write TLB
// holds, so it serves loads and stores alike. Programs need no such thing: if they are hot they have a
// window.
//
//  - An access of its own compares with that page:  mov r9, r8; sub r9, [tag]; cmp r9, 4096 - size; ja cold.
//  - Accesses of one block that are a known distance from each other (pushes, pops, [rsp + n], with RSP moved
//    by constants in between) are a group: the first checks the whole range, the others need no check.
//
// Whatever fails goes through the TLBs: a single access by Thunks.StackPrepare, a group by a translation of
// the same code without groups (ModeKey.Ungrouped), which is made when it is first needed and jumped to from
// then on. That also covers a frame that lies across two pages. The pages are forgotten with the TLBs
// (LinearMemory.ForgetStack).

using Iced.Intel;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class Translator
{
    /// <summary>Longest range checked at once; far less than a page, or most checks would fail.</summary>
    private const int MaxGroupBytes = 512;

    private readonly StackGroup[] _groups = new StackGroup[MaxInstructions + 1];
    private readonly bool[] _grouped = new bool[MaxInstructions + 1];

    /// <summary>The range of a group, from RSP at the instruction that checks it.</summary>
    private struct StackGroup
    {
        internal int Low;
        internal int High;
        internal int Accesses;
    }

    private bool UsesStackPage => _long && (_mode & (ModeKey.Flat | ModeKey.User)) == ModeKey.Flat;

    /// <summary>Finds the groups of the block.</summary>
    private void ComputeStackGroups()
    {
        for (int i = 0; i < _count; i++)
        {
            _grouped[i] = false;
            _groups[i].Accesses = 0;
        }

        if (!UsesStackPage || SingleStep || (_mode & ModeKey.Ungrouped) != 0)
        {
            return;
        }

        int first = -1;
        int moved = 0;
        for (int i = 0; i < _count; i++)
        {
            ref readonly Instruction instruction = ref _instructions[i];
            InstructionKind kind = _classes.KindOf(instruction, _mode);
            int accesses = 0;
            int low = 0, high = 0;
            bool known = kind is InstructionKind.Copy or InstructionKind.Special or InstructionKind.Nop
                && TryStackAccess(instruction, kind, ref low, ref high, ref accesses);
            if (accesses != 0)
            {
                if (first >= 0 && !Widen(ref _groups[first], moved + low, moved + high))
                {
                    first = -1;
                }

                if (first < 0)
                {
                    first = i;
                    moved = 0;
                    _groups[i] = new StackGroup { Low = low, High = high };
                }

                _groups[first].Accesses += accesses;
                _grouped[i] = true;
            }

            int step = 0;
            if (!known || !TryStackStep(instruction, out step))
            {
                first = -1;
            }

            moved += step;
        }

        DropSingles();
    }

    /// <summary>A group of one access is no group.</summary>
    private void DropSingles()
    {
        int first = -1;
        for (int i = 0; i < _count; i++)
        {
            if (_groups[i].Accesses != 0)
            {
                first = i;
            }

            if (_grouped[i] && _groups[first].Accesses == 1)
            {
                _grouped[i] = false;
                _groups[i].Accesses = 0;
            }
        }
    }

    private static bool Widen(ref StackGroup group, int low, int high)
    {
        low = System.Math.Min(low, group.Low);
        high = System.Math.Max(high, group.High);
        if (high - low > MaxGroupBytes)
        {
            return false;
        }

        group.Low = low;
        group.High = high;
        return true;
    }

    /// <summary>The bytes at RSP that an instruction accesses, from RSP before it. False: the instruction
    /// ends the group before it, because C# may run in its place and come back, or its accesses are not
    /// known.</summary>
    private bool TryStackAccess(in Instruction instruction, InstructionKind kind, ref int low, ref int high,
        ref int accesses)
    {
        if (InstructionClasses.IsEmittedSystem(instruction, _mode))
        {
            return false;
        }

        int slot = 0;
        bool pushes = false;
        if (kind == InstructionKind.Special)
        {
            switch (instruction.Mnemonic)
            {
                case Mnemonic.Push or Mnemonic.Call:
                    pushes = true;
                    slot = -8;
                    break;
                case Mnemonic.Pop when instruction.Op0Kind == OpKind.Register:
                case Mnemonic.Ret:
                    pushes = true;
                    break;
                case Mnemonic.Jmp or Mnemonic.Lea or Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr
                    or Mnemonic.Btc:
                    break;
                case Mnemonic.Pop or Mnemonic.Leave or Mnemonic.Pushfq or Mnemonic.Sti or Mnemonic.Cli:
                    return false;
                default:
                    return instruction.IsJccShortOrNear
                        || (instruction.IsStringInstruction && !instruction.HasRepPrefix
                            && !instruction.HasRepnePrefix);
            }
        }

        if (pushes)
        {
            low = slot;
            high = slot + 8;
            accesses = 1;
        }

        if (IsStackOperand(instruction, out int displacement, out int size))
        {
            low = accesses == 0 ? displacement : System.Math.Min(low, displacement);
            high = accesses == 0 ? displacement + size : System.Math.Max(high, displacement + size);
            accesses++;
        }

        if (high - low > MaxGroupBytes || (accesses == 0 && kind == InstructionKind.Copy
            && HasMemoryOperand(instruction) && instruction.MemorySize.GetSize() == 0))
        {
            accesses = 0;
            return false;
        }

        return true;
    }

    /// <summary>True for a memory operand at RSP plus a small constant whose instruction is copied, pushed,
    /// jumped through or called.</summary>
    private bool IsStackOperand(in Instruction instruction, out int displacement, out int size)
    {
        displacement = (int)instruction.MemoryDisplacement64;
        size = 0;
        if (instruction.MemoryBase != Register.RSP || instruction.MemoryIndex != Register.None
            || instruction.Mnemonic is Mnemonic.Lea or Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr
                or Mnemonic.Btc
            || instruction.MemorySegment is Register.FS or Register.GS
            || displacement is < -MaxGroupBytes or > 4096
            || !HasMemoryOperand(instruction))
        {
            return false;
        }

        size = instruction.MemorySize.GetSize();
        return size is > 0 and <= 64;
    }

    /// <summary>How far an instruction moves RSP; false if that is not known before it runs, or if what comes
    /// next is elsewhere.</summary>
    private bool TryStackStep(in Instruction instruction, out int step)
    {
        step = 0;
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Push:
                step = -8;
                return true;
            case Mnemonic.Pop:
                step = 8;
                return instruction.Op0Register != Register.RSP;
            case Mnemonic.Call or Mnemonic.Ret or Mnemonic.Jmp:
                return false;
            case Mnemonic.Add or Mnemonic.Sub when instruction.Op0Kind == OpKind.Register
                && instruction.Op0Register == Register.RSP
                && instruction.Op1Kind is OpKind.Immediate8to64 or OpKind.Immediate32to64:
                long amount = (long)instruction.GetImmediate(1);
                step = (int)(instruction.Mnemonic == Mnemonic.Add ? amount : -amount);
                return amount is >= -4096 and <= 4096;
            case Mnemonic.Lea when instruction.Op0Register == Register.RSP
                && instruction.MemoryBase == Register.RSP && instruction.MemoryIndex == Register.None:
                step = (int)instruction.MemoryDisplacement64;
                return step is >= -4096 and <= 4096;
        }

        return !WritesStackPointer(instruction);
    }

    private static bool WritesStackPointer(in Instruction instruction)
    {
        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) == OpKind.Register
                && instruction.GetOpRegister(i) is Register.RSP or Register.ESP or Register.SP or Register.SPL
                && instruction.Mnemonic is not (Mnemonic.Cmp or Mnemonic.Test or Mnemonic.Push)
                && !(i == 1 && instruction.Mnemonic is Mnemonic.Mov or Mnemonic.Add or Mnemonic.Sub
                    or Mnemonic.And or Mnemonic.Or or Mnemonic.Xor))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Before anything else of the instruction that begins a group: the check of its
    /// range.</summary>
    private void EmitGroupCheck()
    {
        ref readonly StackGroup group = ref _groups[_current];
        if (group.Accesses == 0)
        {
            return;
        }

        FreeFlags();
        EmitRangeCheck(group);
        _cold[_coldCount++] = new ColdStub
        {
            Kind = ColdKind.StackGroup,
            Patch = _emit.JumpForward(Condition.Above),
            BodyStart = _emit.Offset,
            Index = _current,
            FlagsParked = Parked,
        };
    }

    private void EmitRangeCheck(in StackGroup group)
    {
        _emit.Lea(Host.Scratch, Host.GuestEsp, group.Low, wide: true);
        _emit.OperateLoad(Alu.Sub, Host.Scratch, Host.State, Offset.StackTag, wide: true);
        _emit.Arithmetic(Alu.Compare, Host.Scratch, 4096 - (group.High - group.Low), wide: true);
    }

    /// <summary>The range is not in the stack's page: takes the page from the TLB and looks again, or leaves
    /// for the translation without groups. The budget gets back what this block was charged for.</summary>
    private void EmitColdGroup(in ColdStub stub)
    {
        StackGroup group = _groups[stub.Index];
        _emit.Lea(Host.Address, Host.GuestEsp, group.Low, wide: true);
        _emit.Call(_thunks.StackFill);
        EmitRangeCheck(group);
        _emit.Jump(Condition.NotAbove, stub.BodyStart);
        if (stub.FlagsParked)
        {
            _emit.UnparkFlags();
        }

        _emit.Lea(Host.Counter, Host.Counter, _segmentEnd[stub.Index] - stub.Index);
        _cold[_coldCount++] = new ColdStub
        {
            Kind = ColdKind.Link,
            Patch = _emit.JumpForward(),
            Target = _offsets[stub.Index],
            Index = stub.Index,
            Ungrouped = true,
        };
    }

    /// <summary>r8 = host address of an access of a group.</summary>
    private void EmitGroupedAddress(int displacement)
    {
        _emit.Load(Host.Address, Host.State, Offset.StackDelta, wide: true);
        _emit.LeaScaled(Host.Address, Host.Address, Host.GuestEsp, 1, displacement, wide: true);
    }

    /// <summary>The check of a single access at the linear address in r8 against the stack's page, as
    /// BeginAccess does it with the TLBs.</summary>
    private int EmitStackCheck(int size)
    {
        _emit.Move(Host.Scratch, Host.Address, wide: true);
        _emit.OperateLoad(Alu.Sub, Host.Scratch, Host.State, Offset.StackTag, wide: true);
        _emit.Arithmetic(Alu.Compare, Host.Scratch, 4096 - size, wide: true);
        int miss = _emit.JumpForward(Condition.Above);
        _emit.OperateLoad(Alu.Add, Host.Address, Host.State, Offset.StackDelta, wide: true);
        return miss;
    }
}
