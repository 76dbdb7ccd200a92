// Runs 64-bit code on the host CPU itself, as NativeOracle does for i386 code. The snippet's code, data and
// stack lie below 4 GiB at the addresses of TestLayout, and the tests see to it that no other address of this
// process can come out of one. An exception with RIP in the code region is the snippet's own; the handler
// passes all others on. One instance per process; Run takes a lock.

using System;
using System.IO;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Lhype.Tests.Cpu.Oracle;

/// <summary>Registers of a 64-bit user program.</summary>
internal sealed class LongImage
{
    /// <summary>Names of <see cref="Gpr"/>.</summary>
    internal static readonly string[] GprNames =
    [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
        "r15",
    ];

    /// <summary>RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8-R15.</summary>
    internal ulong[] Gpr { get; } = new ulong[16];
    internal ulong Rip { get; set; } = TestLayout.Code;
    internal ulong Rflags { get; set; } = CpuImage.InitialEflags;
    internal ulong FsBase { get; set; }
    internal ulong GsBase { get; set; }
    /// <summary>x87, MMX, XMM0-15 and MXCSR as FXSAVE lays them out.</summary>
    internal byte[] Fx { get; } = new byte[512];
    /// <summary>Bits 255-128 of YMM0-15.</summary>
    internal byte[] Upper { get; } = new byte[16 * 16];

    internal LongImage() => new CpuImage().Fx.CopyTo(Fx, 0);
}

/// <summary>The state at the exception that ended a run.</summary>
internal sealed class LongResult
{
    internal required LongImage Cpu { get; init; }
    internal required TestMemory Memory { get; init; }
    internal uint Vector { get; init; }
    internal uint ErrorCode { get; init; }
    internal ulong FaultAddress { get; init; }

    /// <summary>True if the run ended at its HLT.</summary>
    internal bool Completed => Vector == Lhype.Cpu.Vector.GeneralProtection
        && TestLayout.OffsetOf((uint)Cpu.Rip) is >= 0 and int at && Memory.Bytes[at] == 0xF4;

    /// <summary>The same result without the upper registers, for RunResult.Compare.</summary>
    internal RunResult Lower()
    {
        var image = new CpuImage
        {
            Eip = (uint)Cpu.Rip,
            Eflags = (uint)Cpu.Rflags,
            FsBase = (uint)Cpu.FsBase,
            GsBase = (uint)Cpu.GsBase,
        };
        for (int i = 0; i < 8; i++)
        {
            image.Gpr[i] = (uint)Cpu.Gpr[i];
        }

        Cpu.Fx.CopyTo(image.Fx, 0);
        Cpu.Upper.AsSpan(0, image.Upper.Length).CopyTo(image.Upper);
        return new RunResult
        {
            Cpu = image,
            Memory = Memory,
            Vector = Vector,
            ErrorCode = ErrorCode,
            FaultAddress = (uint)FaultAddress,
        };
    }

    /// <summary>What differs, one line each.</summary>
    internal static string Compare(LongResult expected, LongResult actual, uint ignoredFlags)
    {
        RunResult lower = expected.Lower();
        var latitude = Latitude.At(lower, 64, ignoredFlags);
        string text = RunResult.Compare(lower, actual.Lower(), latitude);
        for (int i = 0; i < 16; i++)
        {
            if (expected.Cpu.Gpr[i] != actual.Cpu.Gpr[i])
            {
                text += $"  r{i}: native {expected.Cpu.Gpr[i]:x} translated {actual.Cpu.Gpr[i]:x}\n";
            }
        }

        for (int i = 8; i < 16; i++)
        {
            ReadOnlySpan<byte> want = expected.Cpu.Fx.AsSpan(160 + (i * 16), 16);
            ReadOnlySpan<byte> got = actual.Cpu.Fx.AsSpan(160 + (i * 16), 16);
            if (!want.SequenceEqual(got))
            {
                text += $"  xmm{i}: native {Convert.ToHexString(want)} translated "
                    + $"{Convert.ToHexString(got)}\n";
            }

            text += RunResult.CompareUpper(i, expected.Cpu.Upper, actual.Cpu.Upper);
        }

        return (expected.FaultAddress ^ actual.FaultAddress) >> 32 == 0 ? text
            : text + $"  address: native {expected.FaultAddress:x} translated {actual.FaultAddress:x}\n";
    }
}

/// <summary>The host CPU in 64-bit mode at CPL 3.</summary>
internal sealed unsafe class LongOracle
{
    private const int AltStackBytes = 64 * 1024;
    private const int LongGpr = 2048;
    private static readonly Lazy<LongOracle> Shared = new(() => new LongOracle());
    private readonly byte* _memory;
    private readonly byte* _context;
    private readonly ulong* _target;
    private readonly delegate* unmanaged<void> _enter;

    private LongOracle()
    {
        _memory = NativeOracle.Instance.Memory;
        const int All = OracleLibc.PROT_READ | OracleLibc.PROT_WRITE | OracleLibc.PROT_EXEC;
        const int Private = OracleLibc.MAP_PRIVATE | OracleLibc.MAP_ANONYMOUS | OracleLibc.MAP_POPULATE;
        byte* code = (byte*)OracleLibc.mmap(0, 8192 + AltStackBytes, All, Private, -1, 0);
        _context = code + 4096;
        var a = new Assembler(64);
        Label handler = a.CreateLabel(), target = a.CreateLabel();
        EmitEntry(a, (ulong)_context, target);
        EmitHandler(a, ref handler, (ulong)_context);
        a.Label(ref target);
        a.dq(0ul);
        using var stream = new MemoryStream();
        AssemblerResult result = a.Assemble(new StreamCodeWriter(stream), (ulong)code,
            BlockEncoderOptions.ReturnNewInstructionOffsets);
        stream.ToArray().CopyTo(new Span<byte>(code, 4096));
        _target = (ulong*)result.GetLabelRIP(target);
        _enter = (delegate* unmanaged<void>)code;
        *(long*)(_context + OracleContext.RunStack) = (nint)(code + 8192);
        *(long*)(_context + OracleContext.RunStack + 16) = AltStackBytes;
        ulong runMask = ulong.MaxValue;
        foreach (int signal in NativeOracle.Signals)
        {
            runMask &= ~(1UL << (signal - 1));
            NativeOracle.Install(signal, (nint)result.GetLabelRIP(handler),
                (nint*)(_context + OracleContext.OldHandlers));
        }

        *(ulong*)(_context + OracleContext.RunMask) = runMask;
    }

    /// <summary>The process's oracle, made on first use.</summary>
    internal static LongOracle Instance => Shared.Value;

    /// <summary>Runs from <paramref name="cpu"/> and <paramref name="memory"/> (both unchanged) until an
    /// exception.</summary>
    internal LongResult Run(LongImage cpu, TestMemory memory)
    {
        lock (NativeOracle.Instance.Lock)
        {
            memory.Bytes.CopyTo(new Span<byte>(_memory, TestLayout.TotalLength));
            *(ulong*)(_context + OracleContext.FsBase) = cpu.FsBase;
            *(ulong*)(_context + OracleContext.GsBase) = cpu.GsBase;
            *(ulong*)(_context + OracleContext.Eflags) = cpu.Rflags;
            *_target = cpu.Rip;
            cpu.Gpr.CopyTo(new Span<ulong>(_context + LongGpr, 16));
            cpu.Fx.CopyTo(new Span<byte>(_context + OracleContext.FxIn, 512));
            OracleUppers.Set(_context, cpu.Fx, cpu.Upper);
            _enter();
            return Collect(cpu);
        }
    }

    private LongResult Collect(LongImage start)
    {
        var registers = new ReadOnlySpan<ulong>(_context + OracleContext.Gregs, SignalFrame.GregCount);
        var end = new LongImage
        {
            Rip = registers[SignalFrame.Rip],
            Rflags = registers[SignalFrame.Eflags],
            FsBase = start.FsBase,
            GsBase = start.GsBase,
        };
        ReadOnlySpan<int> order =
        [
            SignalFrame.Rax, SignalFrame.Rcx, SignalFrame.Rdx, SignalFrame.Rbx,
            SignalFrame.Rsp, SignalFrame.Rbp, SignalFrame.Rsi, SignalFrame.Rdi,
            0, 1, 2, 3, 4, 5, 6, 7,
        ];
        for (int i = 0; i < 16; i++)
        {
            end.Gpr[i] = registers[order[i]];
        }

        new ReadOnlySpan<byte>(_context + OracleContext.FxOut, 512).CopyTo(end.Fx);
        OracleUppers.Get(_context, end.Upper);
        var memory = new TestMemory();
        new ReadOnlySpan<byte>(_memory, TestLayout.TotalLength).CopyTo(memory.Bytes);
        uint vector = (uint)registers[SignalFrame.Trap];
        bool pageFault = vector == Lhype.Cpu.Vector.PageFault;
        ulong address = registers[SignalFrame.Cr2];
        return new LongResult
        {
            Cpu = end,
            Memory = memory,
            Vector = vector,
            // The host's kernel is mapped in the upper half, the guest's is not: P says so.
            ErrorCode = (uint)registers[SignalFrame.Error] & (pageFault && address >> 63 != 0 ? ~1u : ~0u),
            FaultAddress = pageFault ? address : 0,
        };
    }

    private static readonly AssemblerRegister64[] Gprs =
        [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15];

    private static void EmitEntry(Assembler a, ulong context, Label target)
    {
        OracleStub.EmitEnter(a, context, narrow: false);
        for (int i = 0; i < 16; i++)
        {
            a.mov(Gprs[i], __qword_ptr[r15 + LongGpr + (i * 8)]);
        }

        a.jmp(__qword_ptr[target]);
    }

    private static void EmitHandler(Assembler a, ref Label handler, ulong context)
    {
        Label foreign = a.CreateLabel();
        a.Label(ref handler);
        a.mov(rax, __qword_ptr[rdx + SignalFrame.Gregs + (SignalFrame.Rip * 8)]);
        a.sub(rax, (int)TestLayout.Code);
        a.cmp(rax, TestLayout.CodeLength);
        a.jae(foreign);
        a.cmp(__word_ptr[rdx + SignalFrame.Gregs + (SignalFrame.Selectors * 8)], 0x33);
        a.jne(foreign);
        OracleStub.EmitLeave(a, context, narrow: false);
        OracleStub.EmitForeign(a, ref foreign, context);
    }
}
