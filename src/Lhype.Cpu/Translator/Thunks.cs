// The emitted routines every block shares: entering and leaving guest code, the slow path of memory operands,
// and the NativeRoutines C# calls. Emitted once, at the start of code memory, before any block. Offset 0 is
// the indirect-jump miss, so that a zero in an entry-point table leads there by itself.

using Lhype.Cpu.Architecture;
using Lhype.Host;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

/// <summary>Why emitted code came back to C#; stored in CpuState.ExitReason.</summary>
internal enum ExitReason : uint
{
    /// <summary>An indirect jump found no translation; Rip holds the linear target.</summary>
    Indirect,
    /// <summary>The budget ran out at a block head; Rip holds its linear address.</summary>
    Poll,
    /// <summary>A direct jump is not linked yet; ExitSite is the link, Rip the linear target.</summary>
    Link,
    /// <summary>An instruction for Processor.Execute; ExitSite is the trap site.</summary>
    Trap,
    /// <summary>A memory operand faulted; ExitHostPc is the return address of the slow path.</summary>
    MemoryFault,
    /// <summary>The host CPU raised an exception; ExitHostPc is the faulting instruction.</summary>
    HostFault,
    /// <summary>A store dropped translated code; ExitHostPc leads to the next guest instruction.</summary>
    CodeDropped,
    /// <summary>The second page of a page-crossing instruction is not the one translated.</summary>
    CrossPage,
}

/// <summary>Offsets of the shared routines.</summary>
internal sealed unsafe partial class Thunks
{
    private readonly Emitter _emitter;

    internal Thunks(Emitter emitter, CodeMemory memory, NativeRoutines native, CpuModel model,
        bool testsUppers, nint prepare, nint commit)
    {
        _emitter = emitter;
        _vectors = model.HasAvx;
        _testsUppers = testsUppers || !HostCpu.HasInUse;
        emitter.Offset = 0;
        emitter.Store(Host.Scratch, Host.State, Offset.Rip, wide: true);
        int toExit = EmitReason(ExitReason.Indirect);
        emitter.PatchHere(toExit);
        EmitLeave();
        int leave = emitter.TargetOf(toExit);

        Poll = EmitRipExit(ExitReason.Poll, leave, Host.Address);
        Link = EmitSiteExit(ExitReason.Link, leave, storeRip: true);
        Trap = EmitSiteExit(ExitReason.Trap, leave, storeRip: false);
        CrossPage = EmitRipExit(ExitReason.CrossPage, leave, Host.Address);
        HostFault = emitter.Offset;
        emitter.Byte(0xFC);
        EmitFaultRegisters(store: true);
        emitter.Load(Host.Address, Host.State, Offset.Temp0, wide: true);
        emitter.Store(Host.Address, Host.State, Offset.HostFaultTemp, wide: true);
        emitter.Store(Host.Flags, Host.State, Offset.Temp0, wide: true);
        emitter.Patch(EmitReason(ExitReason.HostFault), leave);
        Resume = emitter.Offset;
        emitter.Load(Host.Address, Host.State, Offset.HostFaultTemp, wide: true);
        emitter.Store(Host.Address, Host.State, Offset.Temp0, wide: true);
        EmitFaultRegisters(store: false);
        emitter.OpMemory(0xFF, 4, Host.State, Offset.ExitHostPc);
        Prepare = EmitPrepare(prepare, leave);
        foreach (int size in LookUpSizes)
        {
            _lookUps[size] = EmitLookUp(size, write: false);
            _lookUps[size | LookUpWrites] = EmitLookUp(size, write: true);
        }

        Commit = EmitCommit(commit, leave);
        Enter = EmitEnter();
        EmitSystemThunks(model);
        EmitStackThunks();
        EmitVectorThunks();
        Align();
        ReturnMiss = emitter.Offset;
        emitter.ParkFlags();
        emitter.Jump(Dispatch);
        EmitNativeRoutines(memory, native);
        Align();
        End = emitter.Offset;
    }

    /// <summary>Budget exhausted; r8 = linear address of the block.</summary>
    internal int Poll { get; }
    /// <summary>Unlinked direct jump; r8 = linear target, r9d = link.</summary>
    internal int Link { get; }
    /// <summary>Instruction for C#; r9d = trap site.</summary>
    internal int Trap { get; }
    /// <summary>Page-crossing guard failed; r8 = linear address of the instruction.</summary>
    internal int CrossPage { get; }
    /// <summary>Where the signal handler resumes.</summary>
    internal int HostFault { get; }
    /// <summary>Runs the host instruction that faulted once more; what C# is to enter for that.</summary>
    internal int Resume { get; }
    /// <summary>r8 = address, r9d = AccessInfo; returns r8 = host address, ZF clear if it is the bounce
    /// buffer. Changes r9 and r10 and flags.</summary>
    internal int Prepare { get; }

    private const int LookUpWrites = 32;
    private static readonly int[] LookUpSizes = [1, 2, 4, 8, 16];
    private readonly int[] _lookUps = new int[2 * LookUpWrites];

    /// <summary>The routine that looks a supervisor's operand up in the TLBs (see EmitLookUp), or 0: there is
    /// none for this size.</summary>
    internal int LookUp(int size, bool write) =>
        size >= LookUpWrites ? 0 : _lookUps[size | (write ? LookUpWrites : 0)];
    /// <summary>Writes the bounce buffer back; changes r10 only.</summary>
    internal int Commit { get; }
    /// <summary>Where a RET without an open call leads; r9d = linear target.</summary>
    internal int ReturnMiss { get; }
    /// <summary>void enter(CpuState*, void* code).</summary>
    internal int Enter { get; }
    /// <summary>First offset free for blocks.</summary>
    internal int End { get; }

    private void EmitFaultRegisters(bool store)
    {
        for (int i = 0; i < 3; i++)
        {
            _emitter.OpMemory(store ? 0x89 : 0x8B, Host.Address + i, Host.State,
                Offset.HostFaultGpr + (i * 8), wide: true);
        }
    }

    private int EmitReason(ExitReason reason)
    {
        _emitter.StoreImmediate(Host.State, Offset.ExitReason, (int)reason);
        return _emitter.JumpForward();
    }

    private int EmitRipExit(ExitReason reason, int leave, int register)
    {
        int start = _emitter.Offset;
        _emitter.Store(register, Host.State, Offset.Rip, wide: true);
        _emitter.Patch(EmitReason(reason), leave);
        return start;
    }

    private int EmitSiteExit(ExitReason reason, int leave, bool storeRip)
    {
        int start = _emitter.Offset;
        _emitter.Store(Host.Scratch, Host.State, Offset.ExitSite);
        if (storeRip)
        {
            _emitter.Store(Host.Address, Host.State, Offset.Rip, wide: true);
        }

        _emitter.Patch(EmitReason(reason), leave);
        return start;
    }

    /// <summary>Stores the guest's registers and flags, restores the caller's, returns from Enter.</summary>
    private void EmitLeave()
    {
        _emitter.Store(Host.Rsp, Host.State, Offset.ReturnStack, wide: true);
        _emitter.Byte(0x9C);
        _emitter.Bytes(0x41, 0x5A);
        _emitter.Store(Host.Scratch2, Host.State, Offset.ArithFlags);
        for (int register = 0; register < 8; register++)
        {
            _emitter.Store(Host.Of(register), Host.State, Offset.Gpr + (register * 8), wide: true);
        }

        _emitter.Store(Host.Counter, Host.State, Offset.Counter);
        _emitter.Store(Host.CodePage, Host.State, Offset.CodePageBase, wide: true);
        EmitSaveVectors();
        _emitter.Load(Host.Rsp, Host.State, Offset.HostRsp, wide: true);
        _emitter.Bytes(0x48, 0x83, 0xC4, 0x08);
        for (int register = 15; register >= 12; register--)
        {
            _emitter.Bytes(0x41, (byte)(0x58 | (register & 7)));
        }

        _emitter.Byte(0x58 | Host.Rbp);
        _emitter.Byte(0x58 | Host.Rbx);
        _emitter.Byte(0xC3);
    }

    private int EmitEnter()
    {
        Align();
        int start = _emitter.Offset;
        _emitter.Byte(0x50 | Host.Rbx);
        _emitter.Byte(0x50 | Host.Rbp);
        for (int register = 12; register <= 15; register++)
        {
            _emitter.Bytes(0x41, (byte)(0x50 | (register & 7)));
        }

        _emitter.Bytes(0x48, 0x83, 0xEC, 0x08);
        _emitter.Move(Host.State, Host.Rdi, wide: true);
        _emitter.Store(Host.Rsp, Host.State, Offset.HostRsp, wide: true);
        _emitter.Store(Host.Rsi, Host.State, Offset.Temp1, wide: true);
        EmitLoadVectors();
        _emitter.Load(Host.Rax, Host.State, Offset.ArithFlags);
        _emitter.Move(Host.Address, Host.Rax);
        _emitter.Bytes(0x88, 0xC4);
        _emitter.Bytes(0x41, 0x0F, 0xBA, 0xE0);
        _emitter.Byte(11);
        _emitter.Bytes(0x0F, 0x92, 0xC0);
        _emitter.Bytes(0x04, 0x7F);
        _emitter.Byte(0x9E);
        for (int register = 0; register < 8; register++)
        {
            _emitter.Load(Host.Of(register), Host.State, Offset.Gpr + (register * 8), wide: true);
        }

        _emitter.Load(Host.Counter, Host.State, Offset.Counter);
        _emitter.Load(Host.CodePage, Host.State, Offset.CodePageBase, wide: true);
        _emitter.Load(Host.Flags, Host.State, Offset.Temp0, wide: true);
        _emitter.Load(Host.Rsp, Host.State, Offset.ReturnStack, wide: true);
        _emitter.OpMemory(0xFF, 4, Host.State, Offset.Temp1);
        return start;
    }

    /// <summary>XMM0-7, XMM8-15 in long mode, upper halves and MXCSR to the state; changes rax, rcx, rdx with
    /// AVX. C# needs a default MXCSR only if the
    /// guest changed more than the sticky exception flags.</summary>
    private void EmitSaveVectors()
    {
        EmitSaveUppers();
        for (int register = 0; register < 8; register++)
        {
            _emitter.Bytes(0x41, 0x0F, 0x29);
            _emitter.Memory(register, Host.State, Offset.Xmm + (register * 16));
        }

        EmitUpperVectors(0x29);
        _emitter.Bytes(0x41, 0x0F, 0xAE);
        _emitter.Memory(3, Host.State, Offset.Mxcsr);
        _emitter.Load(Host.Scratch2, Host.State, Offset.Mxcsr);
        _emitter.Arithmetic(4, Host.Scratch2, ~0x3F);
        _emitter.Arithmetic(7, Host.Scratch2, 0x1F80);
        int skip = _emitter.JumpForward(Condition.Equal);
        _emitter.Bytes(0x41, 0x0F, 0xAE);
        _emitter.Memory(2, Host.State, Offset.HostMxcsr);
        _emitter.PatchHere(skip);
    }

    private void EmitLoadVectors()
    {
        EmitClearUppers();
        _emitter.Bytes(0x41, 0x0F, 0xAE);
        _emitter.Memory(2, Host.State, Offset.Mxcsr);
        for (int register = 0; register < 8; register++)
        {
            _emitter.Bytes(0x41, 0x0F, 0x28);
            _emitter.Memory(register, Host.State, Offset.Xmm + (register * 16));
        }

        EmitUpperVectors(0x28);
        EmitLoadUppers();
    }

    /// <summary>MOVAPS of XMM8-15 (opcode 28 loads, 29 stores), which only 64-bit code can reach. Changes
    /// flags.</summary>
    private void EmitUpperVectors(byte opcode)
    {
        _emitter.TestMemory(Host.State, Offset.Efer, (int)ControlBits.EferLongActive);
        int skip = _emitter.JumpForward(Condition.Equal);
        for (int register = 8; register < 16; register++)
        {
            _emitter.Bytes(0x45, 0x0F, opcode);
            _emitter.Memory(register, Host.State, Offset.Xmm + (register * 16));
        }

        _emitter.PatchHere(skip);
    }

    private void EmitNativeRoutines(CodeMemory memory, NativeRoutines native)
    {
        native.ReadTsc = (delegate* unmanaged[Cdecl, SuppressGCTransition]<ulong>)Routine(memory,
            0x0F, 0x31, 0x48, 0xC1, 0xE2, 0x20, 0x48, 0x09, 0xD0, 0xC3);
        native.Fxsave = (delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, void>)Routine(memory,
            0x0F, 0xAE, 0x07, 0xC3);
        native.Fxrstor = (delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, void>)Routine(memory,
            0x0F, 0xAE, 0x0F, 0xC3);
        native.Fnsave = (delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, void>)Routine(memory,
            0xDD, 0x37, 0xC3);
        native.Frstor = (delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, void>)Routine(memory,
            0xDD, 0x27, 0xC3);
        native.Fnstenv = (delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, void>)Routine(memory,
            0xD9, 0x37, 0xC3);
        native.Fldenv = (delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, void>)Routine(memory,
            0xD9, 0x27, 0xC3);
        native.Fnstsw = (delegate* unmanaged[Cdecl, SuppressGCTransition]<uint>)Routine(memory,
            0x31, 0xC0, 0xDF, 0xE0, 0xC3);
        native.Fninit =
            (delegate* unmanaged[Cdecl, SuppressGCTransition]<void>)Routine(memory, 0xDB, 0xE3, 0xC3);

        // (rdi = destination, rsi = source, rdx = count, ecx = element size): size to al, count to rcx, then
        // by size.
        native.RepMovs =
            (delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, byte*, nuint, int, void>)Routine(
            memory,
            0x89, 0xC8, 0x48, 0x89, 0xD1, 0x3C, 0x02, 0x72, 0x0C, 0x74, 0x0D, 0x3C, 0x04, 0x74, 0x0D,
            0xF3, 0x48, 0xA5, 0xC3, 0x90, 0x90, 0xF3, 0xA4, 0xC3, 0xF3, 0x66, 0xA5, 0xC3, 0xF3, 0xA5, 0xC3);

        // (rdi = destination, rsi = value, rdx = count, ecx = element size): size to r8b, value to rax, count
        // to rcx.
        native.RepStos =
            (delegate* unmanaged[Cdecl, SuppressGCTransition]<byte*, ulong, nuint, int, void>)Routine(
            memory,
            0x41, 0x89, 0xC8, 0x48, 0x89, 0xF0, 0x48, 0x89, 0xD1, 0x41, 0x80, 0xF8, 0x02, 0x72, 0x0C, 0x74,
            0x0D,
            0x41, 0x80, 0xF8, 0x04, 0x74, 0x0B, 0xF3, 0x48, 0xAB, 0xC3, 0xF3, 0xAA, 0xC3, 0xF3, 0x66, 0xAB,
            0xC3,
            0xF3, 0xAB, 0xC3);
    }

    private nint Routine(CodeMemory memory, params System.ReadOnlySpan<byte> code)
    {
        Align();
        nint start = (nint)(memory.Executable + _emitter.Offset);
        foreach (byte value in code)
        {
            _emitter.Byte(value);
        }

        return start;
    }

    private void Align()
    {
        while ((_emitter.Offset & 15) != 0)
        {
            _emitter.Byte(0xCC);
        }
    }
}
