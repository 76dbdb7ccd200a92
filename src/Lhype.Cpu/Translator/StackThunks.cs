// What stack accesses of 64-bit code fall back to (see StackGroups.cs): the page of the stack is taken from
// the write TLB when it has changed.

using Lhype.Cpu.Mmu;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class Thunks
{
    /// <summary>r8 = linear address: its page becomes the page of the stack if the write TLB has it. Changes
    /// r9, r10 and flags.</summary>
    internal int StackFill { get; private set; }
    /// <summary>As <see cref="Prepare"/>, for an access that missed the page of the stack.</summary>
    internal int StackPrepare { get; private set; }

    private void EmitStackThunks()
    {
        StackFill = EmitStackFill();
        StackPrepare = EmitStackPrepare();
    }

    private int EmitStackFill()
    {
        Align();
        int start = _emitter.Offset;
        CodeLabel miss = new();
        const int tag = Offset.StackTag;
        int table = CpuState.DataTlbOffset(user: false, write: true);
        EmitSlot();
        _emitter.Move(Host.Scratch2, Host.Address, wide: true);
        _emitter.Arithmetic(Alu.And, Host.Scratch2, -4096, wide: true);
        _emitter.OpIndexed(0x3B, Host.Scratch2, Host.State, Host.Scratch, table, wide: true);
        _emitter.Jump(Condition.NotEqual, miss);
        _emitter.Store(Host.Scratch2, Host.State, tag, wide: true);
        _emitter.OpIndexed(0x8B, Host.Scratch2, Host.State, Host.Scratch, table + 8, wide: true);
        _emitter.Store(Host.Scratch2, Host.State, tag + 8, wide: true);
        _emitter.Bind(miss);
        _emitter.Return();
        return start;
    }

    /// <summary>r9d = offset of the TLB entry for r8.</summary>
    private void EmitSlot()
    {
        _emitter.Move(Host.Scratch, Host.Address);
        _emitter.ShiftRight(Host.Scratch, 8);
        _emitter.Arithmetic(Alu.And, Host.Scratch, (CpuState.TlbEntries - 1) << 4);
    }

    private int EmitStackPrepare()
    {
        Align();
        int start = _emitter.Offset;
        CodeLabel notWritable = new();
        CodeLabel miss = new();
        const int tag = Offset.StackTag;
        int writable = CpuState.DataTlbOffset(user: false, write: true);
        int readable = CpuState.DataTlbOffset(user: false, write: false);
        _emitter.Store(Host.Scratch, Host.State, Offset.StackInfo, wide: true);
        _emitter.Arithmetic(Alu.And, Host.Scratch, (int)AccessInfo.SizeMask);
        _emitter.LeaIndexed(Host.Scratch2, Host.Address, Host.Scratch);
        _emitter.Arithmetic(Alu.Sub, Host.Scratch2, 1, wide: true);
        _emitter.Arithmetic(Alu.And, Host.Scratch2, -4096, wide: true);
        EmitSlot();
        _emitter.OpIndexed(0x3B, Host.Scratch2, Host.State, Host.Scratch, writable, wide: true);
        _emitter.Jump(Condition.NotEqual, notWritable);
        _emitter.Store(Host.Scratch2, Host.State, tag, wide: true);
        _emitter.OpIndexed(0x8B, Host.Scratch2, Host.State, Host.Scratch, writable + 8, wide: true);
        _emitter.Store(Host.Scratch2, Host.State, tag + 8, wide: true);
        EmitStackHit();

        _emitter.Bind(notWritable);
        _emitter.TestMemory(Host.State, Offset.StackInfo, (int)AccessInfo.Write);
        _emitter.Jump(Condition.NotEqual, miss);
        _emitter.OpIndexed(0x3B, Host.Scratch2, Host.State, Host.Scratch, readable, wide: true);
        _emitter.Jump(Condition.NotEqual, miss);
        _emitter.OpIndexed(0x8B, Host.Scratch2, Host.State, Host.Scratch, readable + 8, wide: true);
        EmitStackHit();

        _emitter.Bind(miss);
        _emitter.Load(Host.Scratch, Host.State, Offset.StackInfo, wide: true);
        _emitter.Jump(Prepare);
        return start;
    }

    private void EmitStackHit()
    {
        _emitter.Operate(Alu.Add, Host.Address, Host.Scratch2, wide: true);
        _emitter.Operate(Alu.Xor, Host.Scratch2, Host.Scratch2);
        _emitter.Return();
    }
}
