// Where indirect jumps and returns find their target without C#. Emitted code indexes a table with the low 13
// bits of the linear target and jumps to what it finds there, unchecked; the block it arrives at compares the
// entry's linear address with the one wanted (Translator.EmitIndirectEntry). So nobody touches the flags, and
// an empty entry needs no test: it leads to the miss.
//
// Each translation mode has a table of its own, which makes the mode part of the look-up for free. An entry
// is as good as the code TLB entry it was made from: it is logged with it and undone with it (LinearMemory).
// Filled by TranslatorVcpu after a miss.

using Lhype.Cpu.Mmu;

namespace Lhype.Cpu.Translator;

/// <summary>The jump tables of one vCPU: in CpuState, one for each mode in use.</summary>
internal sealed unsafe class JumpCache
{
    private readonly CpuState* _state;
    private readonly LinearMemory _memory;
    private readonly uint[] _modes = new uint[CpuState.JumpTables];
    private int _count;

    internal JumpCache(CpuState* state, LinearMemory memory)
    {
        _state = state;
        _memory = memory;
    }

    /// <summary>A mode found no table: time to forget all translations and the modes that nobody uses any
    /// more.</summary>
    internal bool Exhausted { get; private set; }

    /// <summary>Gives all tables back; no translation may be left that uses one.</summary>
    internal void Clear()
    {
        _count = 0;
        Exhausted = false;
        _memory.CloseJumpTables();
    }

    /// <summary>Offset in CpuState of the table for <paramref name="mode"/>, or -1 if indirect jumps of this
    /// mode go to C#: single steps, modes with a limit to check, and modes that come when all tables are
    /// taken.</summary>
    internal int TableOf(uint mode)
    {
        const uint plain = ModeKey.Flat | ModeKey.Code32;
        if ((mode & (plain | ModeKey.SingleStep)) != plain)
        {
            return -1;
        }

        for (int i = 0; i < _count; i++)
        {
            if (_modes[i] == mode)
            {
                return OffsetOf(i);
            }
        }

        if (_count == _modes.Length)
        {
            Exhausted = true;
            return -1;
        }

        _modes[_count] = mode;
        _memory.OpenJumpTable(_count);
        return OffsetOf(_count++);
    }

    /// <summary>Makes jumps of <paramref name="mode"/> to <paramref name="linear"/> lead to
    /// <paramref name="entry"/>, a host address. The page is in the code TLB.</summary>
    internal void Fill(uint mode, ulong linear, ulong entry)
    {
        int table = TableOf(mode);
        if (table >= 0)
        {
            int offset = table + (((int)linear & (CpuState.JumpTableEntries - 1)) * 16);
            _memory.FillJump(offset, linear, mode, entry);
        }
    }

    private static int OffsetOf(int index) =>
        CpuState.Offset.JumpCache + (index * CpuState.JumpTableEntries * 16);
}
