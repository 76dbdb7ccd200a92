// One random program with its start state, made from a seed alone, plus the means to shrink it once it has
// failed.

using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using Iced.Intel;
using Lhype.Tests.Cpu.Asm;
using Lhype.Tests.Cpu.Oracle;

namespace Lhype.Tests.Cpu.Differential;

/// <summary>What kind of program a case is.</summary>
internal enum CaseShape
{
    /// <summary>One instruction: everything is compared, flags at a fault included.</summary>
    Single,
    /// <summary>Straight-line code of 2 to 24 instructions.</summary>
    Straight,
    /// <summary>With forward branches inside a loop of a few iterations.</summary>
    Branching,
    /// <summary>One instruction, most often of <see cref="VectorPool"/>.</summary>
    SingleVector,
    /// <summary>As <see cref="Straight"/>, most instructions of <see cref="VectorPool"/>.</summary>
    StraightVector,
}

internal sealed class RandomCase : IRandomProgram<RandomCase>
{
    private const uint LoopCounter = TestLayout.Code + 0x3F00;
    private readonly List<Item> _items;
    private readonly CpuImage _cpu;
    private readonly int _memorySeed;
    private readonly uint _start;
    private readonly byte _iterations;

    /// <summary>An instruction, or a conditional branch to a later item (the end, if that item was
    /// removed).</summary>
    private sealed record Item(byte[] Bytes, int Id, int Target);

    private RandomCase(RandomCase from, List<Item> items)
    {
        _items = items;
        _cpu = from._cpu;
        _memorySeed = from._memorySeed;
        _start = from._start;
        _iterations = from._iterations;
        Seed = from.Seed;
        Shape = from.Shape;
    }

    internal RandomCase(CaseShape shape, int seed)
    {
        Seed = seed;
        Shape = shape;
        var random = new Random((seed * 31) + (int)shape);
        _cpu = RandomState(random);
        _memorySeed = random.Next();
        // Every other case lies across the end of a code page.
        _start = TestLayout.Code + (random.Next(2) == 0 ? 0x100u : 0x1000u - (uint)random.Next(60));
        _cpu.Eip = _start;
        _iterations = (byte)(shape == CaseShape.Branching ? random.Next(1, 5) : 0);
        int count = shape is CaseShape.Single or CaseShape.SingleVector ? 1 : random.Next(2, 25);
        bool vector = shape is CaseShape.SingleVector or CaseShape.StraightVector;
        if (vector)
        {
            VectorPool.FillState(_cpu, random);
        }

        var source = new RandomInstruction(random, vector);
        _items = [];
        for (int i = 0; i < count; i++)
        {
            bool branch = shape == CaseShape.Branching && i < count - 2 && random.Next(5) == 0;
            _items.Add(branch
                ? new Item([0x0F, (byte)(0x80 + random.Next(16)), 0, 0, 0, 0], i, random.Next(i + 1, count))
                : new Item(source.Next(), i, -1));
        }
    }

    public int Seed { get; }
    internal CaseShape Shape { get; }
    public int Length => _items.Count;
    internal CpuImage Cpu => _cpu;

    /// <summary>All versions of this case with one instruction less.</summary>
    public IEnumerable<RandomCase> Shorter() => _items.Count == 1
        ? []
        : _items.Select((_, i) => new RandomCase(this, [.. _items.Where((_, j) => j != i)]));

    /// <summary>Lays the program out in fresh memory.</summary>
    internal TestMemory MakeMemory()
    {
        var memory = new TestMemory();
        var random = new Random(_memorySeed);
        Fill(memory.Data, (ulong)_memorySeed);
        Fill(memory.Stack, ~(ulong)_memorySeed);
        // Some plausible numbers among the noise, for the floating-point instructions.
        for (int i = 0; i < memory.Data.Length; i += 24)
        {
            double value = (random.NextDouble() - 0.5) * Math.Pow(2, random.Next(-20, 40));
            BitConverter.TryWriteBytes(memory.Data[i..], value);
        }

        byte[] code = Encode();
        code.CopyTo(memory.Bytes, TestLayout.OffsetOf(_start));
        memory.Bytes[TestLayout.OffsetOf(LoopCounter)] = _iterations;
        return memory;
    }

    /// <summary>Noise. A seeded System.Random takes ten times as long, most of a case's time.</summary>
    internal static void Fill(Span<byte> bytes, ulong state)
    {
        foreach (ref ulong word in System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ulong>(bytes))
        {
            state += 0x9E37_79B9_7F4A_7C15;
            ulong mixed = (state ^ (state >> 30)) * 0xBF58_476D_1CE4_E5B9;
            word = mixed ^ (mixed >> 27);
        }
    }

    /// <summary>Registers and a listing, for a failure message.</summary>
    public string Describe()
    {
        var text = new StringBuilder();
        text.Append("  start:");
        for (int i = 0; i < 8; i++)
        {
            text.Append($" {CpuImage.GprNames[i]}={_cpu.Gpr[i]:x}");
        }

        text.AppendLine($" eflags={_cpu.Eflags:x} fs={_cpu.FsBase:x} gs={_cpu.GsBase:x} "
            + $"fcw={BitConverter.ToUInt16(_cpu.Fx):x} fsw={BitConverter.ToUInt16(_cpu.Fx, 2):x} "
            + $"ftw={_cpu.Fx[4]:x} mxcsr={BitConverter.ToUInt32(_cpu.Fx, 24):x}");
        byte[] code = Encode();
        var decoder = Iced.Intel.Decoder.Create(32, code);
        decoder.IP = _start;
        var formatter = new NasmFormatter();
        while (decoder.IP < _start + (ulong)code.Length)
        {
            int at = (int)(decoder.IP - _start);
            Instruction instruction = decoder.Decode();
            var output = new StringOutput();
            formatter.Format(instruction, output);
            text.AppendLine($"  {instruction.IP:x8}  {Convert.ToHexString(code, at, instruction.Length),-24} "
                + output.ToStringAndReset());
        }

        return text.ToString();
    }

    private byte[] Encode()
    {
        var offsets = new Dictionary<int, int>();
        int length = 0;
        foreach (Item item in _items)
        {
            offsets[item.Id] = length;
            length += item.Bytes.Length;
        }

        var code = new List<byte>();
        foreach (Item item in _items)
        {
            code.AddRange(item.Bytes);
            if (item.Target >= 0)
            {
                int target = offsets.GetValueOrDefault(item.Target, length);
                BitConverter.TryWriteBytes(
                    System.Runtime.InteropServices.CollectionsMarshal.AsSpan(code)[^4..],
                    target - code.Count);
            }
        }

        if (_iterations != 0)
        {
            // dec byte [counter]; jg start
            code.AddRange([0xFE, 0x0D, .. BitConverter.GetBytes(LoopCounter), 0x0F, 0x8F]);
            code.AddRange(BitConverter.GetBytes(-(code.Count + 4)));
        }

        code.Add(0xF4);
        return [.. code];
    }

    private static CpuImage RandomState(Random random)
    {
        var cpu = new CpuImage();
        for (int i = 0; i < 3; i++)
        {
            cpu.Gpr[i] = StateVariation.NextValue(random);
        }

        cpu.Gpr[1] = random.Next(2) == 0 ? (uint)random.Next(64) : cpu.Gpr[1];
        cpu.Gpr[5] = (uint)random.Next(32) * (random.Next(4) == 0 ? 1u : 16u);
        foreach (int pointer in (ReadOnlySpan<int>)[3, 6, 7])
        {
            uint offset = random.Next(10) switch
            {
                0 => (uint)random.Next(4) * 4096,
                1 => 0x1000 - (uint)random.Next(16),
                2 => (uint)random.Next(0x4000),
                _ => (uint)random.Next(0x900, 0x3700) & ~15u,
            };
            cpu.Gpr[pointer] = TestLayout.Data + offset;
        }

        cpu.Gpr[4] = random.Next(8) switch
        {
            0 => TestLayout.Stack + 0x1000 + (uint)random.Next(-8, 9),
            1 => TestLayout.Stack + 0x1000 + (uint)random.Next(-4, 5) * 4,
            _ => TestLayout.StackPointer - 0x200,
        };
        cpu.Eflags = CpuImage.InitialEflags | ((uint)random.Next() & Lhype.Cpu.EflagsBits.Arithmetic)
            | (random.Next(8) == 0 ? Lhype.Cpu.EflagsBits.Direction : 0);
        cpu.FsBase = random.Next(4) == 0 ? TestLayout.Data - 0x10u : TestLayout.Data + 0x800;
        cpu.GsBase = TestLayout.Data + (uint)random.Next(0x1000);
        StateVariation.FillStack(cpu, random, random.Next(9));
        StateVariation.FillXmm(cpu, random);
        int masks = random.Next(8) == 0 ? random.Next(64) : 0x3F;
        int precision = random.Next(4) switch { 0 => 0, 1 => 0x200, _ => 0x300 };
        int control = 0x40 | masks | precision | (random.Next(4) << 10);
        BitConverter.TryWriteBytes(cpu.Fx.AsSpan(0), (ushort)control);
        int simd = (random.Next(8) == 0 ? random.Next(64) << 7 : 0x1F80) | (random.Next(4) << 13)
            | (random.Next(6) == 0 ? 0x8000 : 0);
        BitConverter.TryWriteBytes(cpu.Fx.AsSpan(24), simd);
        return cpu;
    }
}
