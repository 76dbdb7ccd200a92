// Guest R8 to R15 live in CpuState, for want of host registers. The one that a block names most often is kept
// in r11 too, as long as r11 does not hold parked flags. Every write goes to CpuState at once, so that the
// state is right wherever the block is left and r11 may be forgotten at any time. Used by Translator for
// addresses and by LongInstructionCopy for operands.

using Iced.Intel;
using Offset = Lhype.Cpu.CpuState.Offset;

namespace Lhype.Cpu.Translator;

/// <summary>Where guest R8 to R15 are while a block of 64-bit code is emitted.</summary>
internal sealed unsafe class HighRegisters(Emitter emitter)
{
    private readonly int[] _uses = new int[16];
    private int _kept = -1;
    private bool _loaded;
    private bool _parked;

    /// <summary>r11 holds the guest's flags.</summary>
    internal bool Parked
    {
        get => _parked;
        set
        {
            _parked = value;
            _loaded &= !value;
        }
    }

    /// <summary>A block of these instructions is about to be emitted.</summary>
    internal void Begin(System.ReadOnlySpan<Instruction> instructions)
    {
        System.Array.Clear(_uses);
        foreach (ref readonly Instruction instruction in instructions)
        {
            for (int i = 0; i < instruction.OpCount; i++)
            {
                switch (instruction.GetOpKind(i))
                {
                    case OpKind.Register:
                        Count(instruction.GetOpRegister(i));
                        break;
                    case OpKind.Memory:
                        Count(instruction.MemoryBase);
                        Count(instruction.MemoryIndex);
                        break;
                }
            }
        }

        _kept = -1;
        _loaded = false;
        int most = 1;
        for (int number = 8; number < 16; number++)
        {
            if (_uses[number] > most)
            {
                most = _uses[number];
                _kept = number;
            }
        }
    }

    /// <summary>r11 may have changed: other code has run.</summary>
    internal void Forget() => _loaded = false;

    /// <summary>The host register in which guest register <paramref name="number"/> (8 to 15) is to be read
    /// or written: r11 or <paramref name="scratch"/>.</summary>
    internal int Holder(int number, int scratch) => number == _kept && !_parked ? Host.Flags : scratch;

    /// <summary>Brings the register into its holder, which is returned.</summary>
    internal int Load(int number, int scratch)
    {
        int host = Holder(number, scratch);
        if (host != Host.Flags || !_loaded)
        {
            emitter.Load(host, Host.State, Offset.Gpr + (number * 8), wide: true);
            _loaded |= host == Host.Flags;
        }

        return host;
    }

    /// <summary>The register has been written in its holder.</summary>
    internal void Store(int number, int host)
    {
        emitter.Store(host, Host.State, Offset.Gpr + (number * 8), wide: true);
        _loaded |= host == Host.Flags;
    }

    private void Count(Register register)
    {
        int number = LongInstructionCopy.NumberOf(register);
        if (number >= 8)
        {
            _uses[number]++;
        }
    }
}
