// Runs i386 code on the host CPU itself, in this process, and reports how it ended. This is the oracle of
// the engine's tests: same instruction set, so every result, undefined flags included, comes from real
// silicon. One instance per process (the addresses below 4 GiB are a process-wide resource); Run takes a
// lock.

using System;
using System.Threading;
using Lhype.Host;

namespace Lhype.Tests.Cpu.Oracle;

/// <summary>The host CPU as an i386 at CPL 3. See <see cref="OracleStub"/> for how it is entered and
/// left.</summary>
internal sealed unsafe class NativeOracle
{
    private const int AltStackBytes = 64 * 1024;
    private static readonly Lazy<NativeOracle> Shared = new(() => new NativeOracle());
    private readonly byte* _memory;
    private readonly byte* _context;
    private readonly delegate* unmanaged<void> _enter;

    private NativeOracle()
    {
        if ((OracleLibc.getauxval(OracleLibc.AT_HWCAP2) & OracleLibc.HWCAP2_FSGSBASE) == 0)
        {
            throw new PlatformNotSupportedException(
                "The native oracle needs a kernel with FSGSBASE (Linux 5.9).");
        }

        _memory = MapRegions();
        const int All = OracleLibc.PROT_READ | OracleLibc.PROT_WRITE | OracleLibc.PROT_EXEC;
        const int Private = OracleLibc.MAP_PRIVATE | OracleLibc.MAP_ANONYMOUS | OracleLibc.MAP_POPULATE;
        byte* code = (byte*)Checked(OracleLibc.mmap(0, 8192 + AltStackBytes, All, Private, -1, 0));
        _context = code + 4096;
        (byte[] bytes, int handler) = OracleStub.Assemble((ulong)code, (ulong)_context);
        bytes.CopyTo(new Span<byte>(code, 4096));
        _enter = (delegate* unmanaged<void>)code;

        // Lhype's handler first, so that foreign signals always reach it: it knows which stack the runtime
        // wants.
        FaultHandler.Register(code, 0, code, default).Dispose();
        *(long*)(_context + OracleContext.RunStack) = (nint)(code + 8192);
        *(long*)(_context + OracleContext.RunStack + 16) = AltStackBytes;
        ulong runMask = ulong.MaxValue;
        foreach (int signal in Signals)
        {
            runMask &= ~(1UL << (signal - 1));
            Install(signal, (nint)(code + handler), (nint*)(_context + OracleContext.OldHandlers));
        }

        *(ulong*)(_context + OracleContext.RunMask) = runMask;
    }

    /// <summary>What a snippet's exceptions come back as.</summary>
    internal static readonly int[] Signals =
    [
        OracleLibc.SIGILL, OracleLibc.SIGTRAP, OracleLibc.SIGBUS, OracleLibc.SIGFPE, OracleLibc.SIGSEGV,
    ];

    /// <summary>Held while code runs on the host CPU: the regions are there once.</summary>
    internal Lock Lock { get; } = new();

    /// <summary>All regions of <see cref="TestLayout"/>, one behind the other.</summary>
    internal byte* Memory => _memory;

    /// <summary>The process's oracle, made on first use.</summary>
    internal static NativeOracle Instance => Shared.Value;

    /// <summary>Runs from <paramref name="cpu"/> and <paramref name="memory"/> (both unchanged) until an
    /// exception. The code must reach one: there is no watchdog.</summary>
    internal RunResult Run(CpuImage cpu, TestMemory memory)
    {
        lock (Lock)
        {
            memory.Bytes.CopyTo(new Span<byte>(_memory, TestLayout.TotalLength));
            *(ulong*)(_context + OracleContext.FsBase) = cpu.FsBase;
            *(ulong*)(_context + OracleContext.GsBase) = cpu.GsBase;
            *(ulong*)(_context + OracleContext.Eflags) = cpu.Eflags;
            *(uint*)(_context + OracleContext.Target) = cpu.Eip;
            *(ushort*)(_context + OracleContext.Target + 4) = TestLayout.UserCode;
            cpu.Gpr.CopyTo(new Span<uint>(_context + OracleContext.Gpr, 8));
            cpu.Fx.CopyTo(new Span<byte>(_context + OracleContext.FxIn, 512));
            OracleUppers.Set(_context, cpu.Fx, cpu.Upper);
            _enter();
            return Collect(cpu);
        }
    }

    private RunResult Collect(CpuImage start)
    {
        var registers = new ReadOnlySpan<ulong>(_context + OracleContext.Gregs, SignalFrame.GregCount);
        var end = new CpuImage
        {
            Eip = (uint)registers[SignalFrame.Rip],
            Eflags = (uint)registers[SignalFrame.Eflags],
            FsBase = start.FsBase,
            GsBase = start.GsBase,
        };
        ReadOnlySpan<int> order =
        [
            SignalFrame.Rax, SignalFrame.Rcx, SignalFrame.Rdx, SignalFrame.Rbx,
            SignalFrame.Rsp, SignalFrame.Rbp, SignalFrame.Rsi, SignalFrame.Rdi,
        ];
        for (int i = 0; i < 8; i++)
        {
            end.Gpr[i] = (uint)registers[order[i]];
        }

        new ReadOnlySpan<byte>(_context + OracleContext.FxOut, 512).CopyTo(end.Fx);
        OracleUppers.Get(_context, end.Upper);
        var memory = new TestMemory();
        new ReadOnlySpan<byte>(_memory, TestLayout.TotalLength).CopyTo(memory.Bytes);
        uint vector = (uint)registers[SignalFrame.Trap];
        bool pageFault = vector == Lhype.Cpu.Vector.PageFault;
        return new RunResult
        {
            Cpu = end,
            Memory = memory,
            Vector = vector,
            // Linux runs with NX enabled, so instruction fetches set I/D; the harness's guest has no NX (SDM
            // 4.7).
            ErrorCode = (uint)registers[SignalFrame.Error] & (pageFault ? ~0x10u : ~0u),
            FaultAddress = pageFault ? (uint)registers[SignalFrame.Cr2] : 0,
        };
    }

    /// <summary>Maps one memfd once for C# (returned) and once more piecewise at the snippet's
    /// addresses.</summary>
    private static byte* MapRegions()
    {
        int fd = OracleLibc.memfd_create("oracle", 0);
        if (fd < 0 || OracleLibc.ftruncate(fd, TestLayout.TotalLength) != 0)
        {
            throw new InvalidOperationException("memfd_create failed");
        }

        const int ReadWrite = OracleLibc.PROT_READ | OracleLibc.PROT_WRITE;
        const int Shared = OracleLibc.MAP_SHARED | OracleLibc.MAP_POPULATE;
        foreach (TestRegion region in TestLayout.Regions)
        {
            int protection = region.Writable ? ReadWrite : OracleLibc.PROT_READ;
            nint at = Checked(OracleLibc.mmap((nint)region.Address, (nuint)region.Length,
                protection | OracleLibc.PROT_EXEC, Shared | OracleLibc.MAP_FIXED_NOREPLACE, fd,
                region.Offset));
            if (at != (nint)region.Address)
            {
                throw new InvalidOperationException($"address {region.Address:x8} is taken in this process");
            }
        }

        return (byte*)Checked(OracleLibc.mmap(0, TestLayout.TotalLength, ReadWrite, Shared, fd, 0));
    }

    /// <summary>Puts <paramref name="handler"/> in front of the handler of <paramref name="signal"/>, which
    /// is noted in <paramref name="oldHandlers"/>.</summary>
    internal static void Install(int signal, nint handler, nint* oldHandlers)
    {
        var action = new SignalAction
        {
            Handler = handler,
            Flags = OracleLibc.SA_SIGINFO | OracleLibc.SA_ONSTACK | OracleLibc.SA_NODEFER,
        };
        SignalAction old;
        // Foreign signals are passed on only once the old handler is known, so it is fetched first.
        if (OracleLibc.sigaction(signal, null, &old) != 0 || old.Handler is 0 or 1)
        {
            throw new InvalidOperationException($"signal {signal} has no handler to chain to");
        }

        oldHandlers[signal] = old.Handler;
        if (OracleLibc.sigaction(signal, &action, null) != 0)
        {
            throw new InvalidOperationException($"cannot handle signal {signal}");
        }
    }

    private static nint Checked(nint address) =>
        address != -1 ? address : throw new InvalidOperationException("mmap failed");
}
