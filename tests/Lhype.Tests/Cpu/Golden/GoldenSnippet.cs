// The guest code of the golden tests: one snippet per class of instruction that is lowered its own way.

using System;
using System.Collections.Generic;
using Lhype.Cpu;

namespace Lhype.Tests.Cpu.Golden;

/// <summary>Guest bytes in hexadecimal and the mode they are translated for.</summary>
internal sealed record GoldenSnippet(string Name, string Hex)
{
    private const uint Kernel = ModeKey.Code32 | ModeKey.Flat | ModeKey.FsOpen | ModeKey.GsOpen;
    private const uint User = Kernel | ModeKey.User | ModeKey.TrapFlags;
    private const uint Long = Kernel | ModeKey.Long, LongUser = User | ModeKey.Long;

    /// <summary>Set flags, go on behind: what comes before need not keep the flags.</summary>
    private const string Suffix = "85C0 EB00";

    internal uint Mode { get; init; } = Kernel;

    /// <summary>Offset in its page.</summary>
    internal int At { get; init; }

    /// <summary>The snippet and, behind it, TEST EAX,EAX and a jump.</summary>
    internal byte[] Code => Convert.FromHexString((Hex + Suffix).Replace(" ", "", StringComparison.Ordinal));

    /// <summary>Length without what is put behind it.</summary>
    internal int Length => Hex.Replace(" ", "", StringComparison.Ordinal).Length / 2;

    internal static IReadOnlyList<GoldenSnippet> All { get; } =
    [
        // Without memory.
        new("register-alu", "01D8 83C105 0FAFD3 C1E604 0FB6F8"),
        new("register-esp", "83EC10 89E5 01C4"),
        new("register-flags-live", "39D8 0F94C1 11D0"),
        new("lea", "8D448B08 8D6424F0 668D4010"),
        new("lea-16-bit-address", "678D00 67668D5E04"),
        new("nop", "90 0F1F4000"),
        // Memory operands.
        new("load", "8B4104 8B1C8D00000020"),
        new("load-byte", "8A01 0FB65A01"),
        new("load-ah", "8A21 0225 00000020"),
        new("load-16-bit-address", "678B4702"),
        new("load-esp-base", "8B442408 8B2424"),
        new("load-moffs", "A100000020 A200000020"),
        new("load-fs", "648B0514000000"),
        new("load-fs-closed", "648B0514000000") { Mode = ModeKey.Code32 | ModeKey.Flat },
        new("load-user", "8B4104") { Mode = User },
        new("load-flags-live", "39D8 8B4A04 7510"),
        new("load-carry-chain", "0302 135204"),
        new("store", "894104 C70178563412"),
        new("store-cs-override", "2E8901"),
        new("modify", "0101 FF4104"),
        new("modify-flags-live", "0101 1301"),
        new("modify-locked", "F00FB111"),
        new("cmpxchg8b", "0FC70E"),
        new("bit-string", "0FA301 0FAB5104"),
        // Stack.
        new("push", "50 6A05 FF31 54"),
        new("push-segment", "0E"),
        new("pop", "58 5C 8F01"),
        new("leave", "C9"),
        new("pushfd", "9C"),
        new("pushfd-user", "9C") { Mode = User },
        // System instructions.
        new("sysenter", "0F34") { Mode = User },
        new("sysexit", "0F35"),
        new("int", "CD80") { Mode = User },
        new("iretd", "CF"),
        new("iretd-user", "CF") { Mode = User },
        new("popfd", "9D"),
        new("rdtsc", "0F31"),
        new("move-to-ds", "8ED8"),
        new("move-to-fs", "8EE0 8E6108"),
        new("pop-es", "07"),
        new("pop-fs", "0FA1"),
        new("move-control", "0F20D0 0F22D8"),
        new("clts", "0F06"),
        new("invlpg", "0F0138"),
        // Control flow.
        new("call", "E800010000"),
        new("call-memory", "FF5108"),
        new("ret", "C3"),
        new("ret-immediate", "C20800"),
        new("jcc", "39D8 7C20"),
        new("jmp-register", "FFE0"),
        new("jmp-memory", "FF248500000020"),
        new("loop", "E2FE"),
        new("loope", "E110"),
        new("jecxz", "E310"),
        // Strings.
        new("lods", "AC AD"),
        new("stos", "AA AB"),
        new("scas", "AE"),
        new("movs", "A5"),
        new("cmps", "A6"),
        new("rep-movs", "F3A5"),
        new("rep-stos", "F3AA"),
        new("repne-scas", "F2AE"),
        // The rest of the CPU.
        new("cli-sti", "FA FB 90"),
        new("cld-std", "FC FD"),
        new("x87", "DD01 D8C1 DD19"),
        new("sse", "0F1001 0F2802 0F58C1 0F2901"),
        new("trap-cpuid", "0FA2"),
        new("trap-hlt", "F4"),
        new("trap-flags-live", "39D8 0FA2 7510"),
        // Block heads and modes.
        new("page-crossing", "8B8100010000") { At = 0xFFD },
        new("single-step", "01D8") { Mode = Kernel | ModeKey.SingleStep },
        new("segmented-load", "8B4104 894104") { Mode = ModeKey.Code32 },
        new("segmented-push", "50") { Mode = ModeKey.Code32 },
        new("real-mode", "01D8 8B07 7510") { Mode = 0 },
        new("compatibility-load", "8B4104 8B6C2408") { Mode = User | ModeKey.Compatibility },
        // 64-bit code.
        new("long-load", "488B4108 8B13") { Mode = Long },
        new("long-load-high", "4F8B4C9A08 418A0424") { Mode = Long },
        new("long-store", "48894108 48C703FEFFFFFF") { Mode = Long },
        new("long-store-high", "4D895108") { Mode = Long },
        new("long-rip-relative", "488B0500100000 83050020000005") { Mode = Long },
        new("long-register-high", "4D01D1 4C89C0 41C1E403") { Mode = Long },
        new("long-high-kept", "4901C1 4C01C9 4931D1 4C89CB") { Mode = Long },
        new("long-modify", "480101 F04D0FC111") { Mode = Long },
        new("long-cmpxchg16b", "F0480FC70F") { Mode = Long },
        new("long-movsxd", "4863C1 4C630F") { Mode = Long },
        new("long-stack-group", "55 4889E5 53 4883EC18 48897C2408") { Mode = Long },
        new("long-pop", "5B 415C 5D") { Mode = Long },
        new("long-call", "E800010000") { Mode = Long },
        new("long-call-register", "41FFD3") { Mode = Long },
        new("long-ret", "C3") { Mode = Long },
        new("long-jmp-memory", "43FF24DA") { Mode = Long },
        new("long-jcc", "4939C0 7C20") { Mode = Long },
        new("long-load-fs", "64488B042528000000") { Mode = Long },
        new("long-load-user", "488B4108") { Mode = LongUser },
        new("long-window", "488B4108 48894310 8B14BB") { Mode = LongUser | ModeKey.Window },
        new("long-window-stack", "53 48897C2408 5B") { Mode = LongUser | ModeKey.Window },
        new("long-window-flags-live", "4839D8 4D8B4A04 7510") { Mode = LongUser | ModeKey.Window },
        new("long-window-rep-movs", "F348A5") { Mode = LongUser | ModeKey.Window },
        new("long-address32", "67488B4108") { Mode = Long },
        new("long-rep-movs", "F348A5") { Mode = Long },
        new("long-sse-high", "450F1001 440F58C1 664C0F7EC0") { Mode = Long },
        new("long-syscall", "0F05") { Mode = LongUser },
        new("long-sysret", "0F01F8 480F07") { Mode = Long },
        new("long-iretq", "48CF") { Mode = Long },
        new("long-thread-base", "F3480FAEC0 F3490FAED9") { Mode = Long },
        new("long-move-control", "0F20D8 0F22D8") { Mode = Long },
    ];
}
