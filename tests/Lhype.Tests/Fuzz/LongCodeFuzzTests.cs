// Random bytes as 64-bit and compatibility-mode code, at CPL 0 and at CPL 3: whatever a guest executes ends
// in the guest (a halt, a triple fault, an endless loop), never in an exception or a broken invariant of
// ours. LHYPE_FUZZ_SEED sets the first seed, LHYPE_FUZZ_SECONDS the time.

using System;
using System.Diagnostics;
using System.Threading;
using Lhype.Cpu;
using Lhype.Cpu.Architecture;
using Lhype.Cpu.Translator;
using Lhype.Host;
using Lhype.Tests.Cpu.Oracle;
using Xunit;
using Xunit.Abstractions;

namespace Lhype.Tests.Fuzz;

public sealed unsafe class LongCodeFuzzTests(ITestOutputHelper output)
{
    private const uint Pml4 = 0x1_0000, Gdt = 0x6000, Tss = 0x6800, Idt = 0x7000, Code = 0x10_0000;

    [Theory]
    [InlineData(true, "v2")]
    [InlineData(false, "v2")]
    [InlineData(true, "host")]
    [InlineData(false, "host")]
    public void AnyBytesAreTheGuestsOwnProblem(bool user, string model)
    {
        int seed = Setting("LHYPE_FUZZ_SEED", 1);
        double seconds = Setting("LHYPE_FUZZ_SECONDS", 2);
        bool vectors = CpuModel.Find(model).HasAvx;
        using var ram = new GuestRam(4 << 20);
        using IVcpu vcpu = new TranslatorEngine { CodeBytes = 8 << 20 }
            .CreateVcpu(ram, new TestBus(), CpuModel.Find(model));
        using var watchdog = new Timer(_ => vcpu.Kick(stop: true));
        var clock = Stopwatch.StartNew();
        int runs = 0;
        for (; clock.Elapsed.TotalSeconds < seconds; runs++)
        {
            var random = new Random(seed + runs);
            vcpu.Reset();
            Fill(ram, random, vectors);
            vcpu.InvalidateCode(0, 4 << 20);
            Start(vcpu, random, user);
            if (vectors)
            {
                byte[] upper = new byte[256];
                random.NextBytes(upper);
                OracleUppers.Set(vcpu.State, upper);
                vcpu.StateChanged();
            }

            watchdog.Change(5, 5);
            VcpuExit exit;
            do
            {
                exit = vcpu.Run();
            }
            while (exit == VcpuExit.Halt && vcpu.State->InterruptFlag != 0 && runs % 2 == 0
                && clock.Elapsed.TotalSeconds < seconds);
            watchdog.Change(Timeout.Infinite, Timeout.Infinite);
        }

        output.WriteLine($"{runs} runs");
    }

    private static int Setting(string variable, int fallback) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), out int value) ? value : fallback;

    private static void Fill(GuestRam ram, Random random, bool vectors)
    {
        new Span<byte>(ram.Base, 4 << 20).Clear();
        var code = new Span<byte>(ram.Base + Code, 0x4000);
        random.NextBytes(code);
        for (int i = 0; i < code.Length; i += random.Next(1, 12))
        {
            // More of what is longer, rarer or 64-bit than chance would give.
            code[i] = random.Next(6) switch
            {
                0 => (byte)(0x40 + random.Next(16)),
                1 => 0x0F,
                2 => vectors ? (byte)(0xC4 + random.Next(2)) : (byte)0x8B,
                3 => (byte)(0x50 + random.Next(16)),
                4 => (byte)random.Next(256),
                _ => 0x89,
            };
        }

        ulong* memory = (ulong*)ram.Base;
        memory[Pml4 / 8] = Pml4 + 0x1007;
        memory[(Pml4 / 8) + 256] = Pml4 + 0x1007;
        memory[(Pml4 + 0x1000) / 8] = Pml4 + 0x2007;
        memory[(Pml4 + 0x2000) / 8] = 0x87;
        memory[((Pml4 + 0x2000) / 8) + 1] = 0x20_0087;
        ReadOnlySpan<ulong> gdt =
        [
            0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x00CF_FB00_0000_FFFF, 0x00CF_F300_0000_FFFF,
            0x00AF_FB00_0000_FFFF, 0x00CF_9B00_0000_FFFF,
        ];
        gdt.CopyTo(new Span<ulong>(ram.Base + Gdt, gdt.Length));
        memory[(Tss + 4) / 8] = 0x9_0000UL << 32;
        for (int vector = 0; vector < 32; vector++)
        {
            ulong handler = Code + ((ulong)random.Next(0x4000));
            memory[(Idt / 8) + (vector * 2)] = (handler & 0xFFFF) | (0x10UL << 16) | (0x8EUL << 40)
                | ((handler & 0xFFFF_0000) << 32);
        }
    }

    private static void Start(IVcpu vcpu, Random random, bool user)
    {
        CpuState* state = vcpu.State;
        bool wide = random.Next(4) != 0;
        for (int i = 0; i < 16; i++)
        {
            state->Gpr[i] = random.Next(3) == 0
                ? (ulong)random.NextInt64() : Code + (ulong)random.Next(0x8000);
        }

        state->Gpr[4] = random.Next(8) == 0 ? 1UL << 63 : 0x8_0000 + (ulong)random.Next(4096);
        state->Cr0 = 0x8005_0033;
        state->Cr3 = Pml4;
        state->Cr4 = 0x6A0;
        state->Efer = 0xD01;
        state->GdtBase = Gdt;
        state->GdtLimit = 0x3F;
        state->IdtBase = Idt;
        state->IdtLimit = 0x1FF;
        state->Star = 0x0023_0010UL << 32;
        state->Lstar = Code + (ulong)random.Next(0x4000);
        state->Cpl = user ? 3u : 0;
        uint dpl = user ? 0x60u : 0;
        ushort code = (ushort)(user ? (wide ? 0x33 : 0x23) : wide ? 0x10 : 0x38);
        state->Segment(SegmentRegister.Cs) = Flat(code, (wide ? 0xA09Bu : 0xC09B) | dpl);
        state->Segment(SegmentRegister.Ss) = Flat((ushort)(user ? 0x2B : 0x18), 0xC093 | dpl);
        state->Segment(SegmentRegister.Ds) = Flat(0x2B, 0xC0F3);
        state->Segment(SegmentRegister.Es) = Flat(0x2B, 0xC0F3);
        state->Segment(SegmentRegister.Fs) = Flat(0x2B, 0xC0F3);
        state->Segment(SegmentRegister.Gs) = Flat(0x2B, 0xC0F3);
        state->Segment(SegmentRegister.Tr) = new SegmentCache
        {
            Selector = 0x40,
            Base = Tss,
            Limit = 0x67,
            Attributes = 0x8B,
        };
        state->Eflags = 2u | (uint)(random.Next() & 0x8D5);
        state->Rip = Code + (ulong)random.Next(0x3000);
        vcpu.StateChanged();
    }

    private static SegmentCache Flat(ushort selector, uint attributes) =>
        new() { Selector = selector, Limit = uint.MaxValue, Attributes = attributes };
}
