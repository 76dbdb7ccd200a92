// System instructions that a thunk executes (see SystemThunks.cs). A block calls or jumps to the thunk with
// the guest's flags parked and the number of a trap site, so that the thunk can leave the instruction to C#
// instead; reads of control registers need no thunk.

using Iced.Intel;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class Translator
{
    /// <summary>Emits an instruction of InstructionClasses.IsEmittedSystem. True if it ended the
    /// block.</summary>
    private bool LowerSystem(in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Rdtsc:
                return LowerCalled(instruction, _thunks.ReadTimeStamp);
            case Mnemonic.Popfd:
                return LowerCalled(instruction, _thunks.PopFlags);
            case Mnemonic.Popfq:
                return LowerCalled(instruction, _thunks.LongPopFlags);
            case Mnemonic.Syscall:
                return LowerJumped(instruction, _thunks.SystemCall);
            case Mnemonic.Sysretq:
                return LowerJumped(instruction, _thunks.SystemReturn);
            case Mnemonic.Iretq:
                return LowerJumped(instruction, _thunks.LongInterruptReturn);
            case Mnemonic.Swapgs:
                const int gsBase = Offset.Segments + ((int)SegmentRegister.Gs * 32);
                _emit.Load(Host.Scratch, Host.State, gsBase, wide: true);
                _emit.Load(Host.Scratch2, Host.State, Offset.KernelGsBase, wide: true);
                _emit.Store(Host.Scratch, Host.State, Offset.KernelGsBase, wide: true);
                _emit.Store(Host.Scratch2, Host.State, gsBase, wide: true);
                return false;
            case Mnemonic.Rdfsbase:
                return LowerThreadBase(instruction, _thunks.ReadFsBase, write: false);
            case Mnemonic.Rdgsbase:
                return LowerThreadBase(instruction, _thunks.ReadGsBase, write: false);
            case Mnemonic.Wrfsbase:
                return LowerThreadBase(instruction, _thunks.WriteFsBase, write: true);
            case Mnemonic.Wrgsbase:
                return LowerThreadBase(instruction, _thunks.WriteGsBase, write: true);
            case Mnemonic.Sysenter:
                return LowerJumped(instruction, _thunks.SystemEnter);
            case Mnemonic.Sysexit:
                return LowerJumped(instruction, _thunks.SystemExit);
            case Mnemonic.Iretd:
                return LowerJumped(instruction, _thunks.InterruptReturn);
            case Mnemonic.Int:
                FreeFlags();
                _emit.MoveImmediate(Host.Address, instruction.Immediate8 * 8);
                return LowerJumped(instruction, _thunks.Interrupt);
            case Mnemonic.Clts:
                FreeFlags();
                _emit.Load(Host.Address, Host.State, Offset.Cr0);
                _emit.Arithmetic(Alu.And, Host.Address, ~(int)ControlBits.Cr0TaskSwitched);
                return LowerJumped(instruction, _thunks.LoadTaskSwitched);
            case Mnemonic.Invlpg:
                SegmentRegister segment = SegmentOf(instruction.MemorySegment);
                EmitAddress(instruction, segment);
                return LowerJumped(instruction, _thunks.InvalidatePage);
            case Mnemonic.Pop:
                BeginStackOperand(instruction, 0, write: false);
                _emit.Load(Host.Address, Host.Address, 0);
                EndOperand();
                return LowerLoadSegment(instruction, pop: true);
            default:
                return LowerSystemMove(instruction);
        }
    }

    private bool LowerSystemMove(in Instruction instruction)
    {
        if (instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsSegmentRegister())
        {
            if (instruction.Op1Kind == OpKind.Memory)
            {
                BeginOperand(instruction, 2, read: true, write: false);
                _emit.LoadZeroExtended(Host.Address, Host.Address, 0, 2);
                EndOperand();
            }
            else
            {
                _emit.Move(Host.Address, Host.Of(Number(instruction.Op1Register)));
            }

            return LowerLoadSegment(instruction, pop: false);
        }

        if (instruction.Op1Register.IsCR())
        {
            _emit.Load(TargetRegister(instruction.Op0Register, Host.Scratch), Host.State,
                ControlRegisterOffset(instruction.Op1Register), wide: _long);
            StoreLoaded(instruction.Op0Register, Host.Scratch);
            return false;
        }

        if (_long)
        {
            _emit.Move(Host.Address, LoadedRegister(instruction.Op1Register, Host.Address), wide: true);
            return LowerJumped(instruction, _thunks.LongLoadCr3);
        }

        _emit.Move(Host.Address, Host.Of(Number(instruction.Op1Register)));
        return LowerJumped(instruction, instruction.Op0Register == Register.CR0
            ? _thunks.LoadTaskSwitched : _thunks.LoadCr3);
    }

    private static int ControlRegisterOffset(Register register) => register switch
    {
        Register.CR0 => Offset.Cr0,
        Register.CR2 => Offset.Cr2,
        _ => Offset.Cr3,
    };

    /// <summary>r8d = selector.</summary>
    private bool LowerLoadSegment(in Instruction instruction, bool pop)
    {
        switch (instruction.Op0Register)
        {
            case Register.DS:
                return LowerCalled(instruction, _thunks.LoadDs, pop);
            case Register.ES:
                return LowerCalled(instruction, _thunks.LoadEs, pop);
            case Register.FS:
                return LowerJumped(instruction, pop ? _thunks.PopFs : _thunks.LoadFs);
            default:
                return LowerJumped(instruction, pop ? _thunks.PopGs : _thunks.LoadGs);
        }
    }

    /// <summary>A thunk that comes back here, or C# in its place.</summary>
    private bool LowerCalled(in Instruction instruction, int thunk, bool pop = false)
    {
        FreeFlags();
        int trap = AddTrap(instruction);
        _emit.MoveImmediate(Host.Scratch, trap);
        _emit.Call(thunk);
        if (pop)
        {
            _emit.Lea(Host.GuestEsp, Host.GuestEsp, 4);
        }

        EnsureFlags();
        ContinueAfter(trap);
        return false;
    }

    /// <summary>RDFSBASE and its family: r8 is the base.</summary>
    private bool LowerThreadBase(in Instruction instruction, int thunk, bool write)
    {
        Register register = instruction.Op0Register;
        bool wide = register.IsGPR64();
        FreeFlags();
        if (write)
        {
            _emit.Move(Host.Address, LoadedRegister(register, Host.Address), wide);
        }

        int trap = AddTrap(instruction);
        _emit.MoveImmediate(Host.Scratch, trap);
        _emit.Call(thunk);
        if (!write)
        {
            _emit.Move(TargetRegister(register, Host.Scratch), Host.Address, wide);
            StoreLoaded(register, Host.Scratch);
        }

        EnsureFlags();
        ContinueAfter(trap);
        return false;
    }

    /// <summary>A thunk that goes on elsewhere; r8 holds its argument.</summary>
    private bool LowerJumped(in Instruction instruction, int thunk)
    {
        FreeFlags();
        int trap = AddTrap(instruction);
        _emit.MoveImmediate(Host.Scratch, trap);
        _emit.Lea(Host.Scratch2, Host.CodePage, _offsets[_current + 1], wide: _long);
        _emit.Jump(thunk);
        return true;
    }
}
