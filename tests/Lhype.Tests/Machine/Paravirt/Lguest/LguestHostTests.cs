// The host of a paravirtual guest without guest code: hypercalls are made by setting registers of a real
// vCPU. What guest code can show is tested by guest/lguest; here is what needs several interrupts, or a host
// that is saved and restored.

using System;
using System.IO;
using Lhype.Cpu;
using Lhype.Cpu.Architecture;
using Lhype.Cpu.Translator;
using Lhype.Host;
using Lhype.Machine;
using Lhype.Machine.Bus;
using Lhype.Machine.Paravirt.Lguest;
using Lhype.Tests.Machine.Devices;
using Xunit;

namespace Lhype.Tests.Machine.Paravirt.Lguest;

public sealed class LguestHostTests : IDisposable
{
    private const uint Top = 4 << 20;
    private const uint Data = 0x10_0000;
    private const uint PresentInterruptGate = 0x8E00;
    private const int Eax = 0, Ecx = 1, Edx = 2, Ebx = 3;

    private readonly Rig _rig = new();

    public void Dispose() => _rig.Dispose();

    [Fact]
    public void LowestNumberIsDeliveredFirst()
    {
        _rig.Initialise();
        _rig.LoadGate(0x23);
        _rig.LoadGate(0x25);
        _rig.Host.RaiseInterrupt(5);
        _rig.Host.RaiseInterrupt(3);
        Assert.False(_rig.Host.InterruptRequested);
        _rig.Write(LguestDialect.IrqEnabled, 0x200);
        Assert.True(_rig.Host.InterruptRequested);
        Assert.Equal(0x23, _rig.Host.Acknowledge());
        Assert.Equal(0x25, _rig.Host.Acknowledge());
        Assert.False(_rig.Host.InterruptRequested);
        Assert.Equal(-1, _rig.Host.Acknowledge());
    }

    [Fact]
    public void GuestIsToldThatInterruptsWaitUntilTheLastIsDelivered()
    {
        _rig.Initialise();
        _rig.LoadGate(0x23);
        _rig.LoadGate(0x25);
        _rig.Host.RaiseInterrupt(5);
        _rig.Host.RaiseInterrupt(3);
        _ = _rig.Host.InterruptRequested;
        Assert.Equal(0x200u, _rig.Read(_rig.Dialect.IrqPending));
        _rig.Write(LguestDialect.IrqEnabled, 0x200);
        _ = _rig.Host.Acknowledge();
        Assert.Equal(0x200u, _rig.Read(_rig.Dialect.IrqPending));
        _ = _rig.Host.Acknowledge();
        Assert.Equal(0u, _rig.Read(_rig.Dialect.IrqPending));
    }

    [Fact]
    public void BlockedInterruptsWaitBehindOthers()
    {
        _rig.Initialise();
        _rig.LoadGate(0x23);
        _rig.LoadGate(0x25);
        _rig.Write(LguestDialect.IrqEnabled, 0x200);
        _rig.Write(LguestDialect.BlockedInterrupts, 1u << 3);
        _rig.Host.RaiseInterrupt(3);
        Assert.False(_rig.Host.InterruptRequested);
        _rig.Host.RaiseInterrupt(5);
        Assert.Equal(0x25, _rig.Host.Acknowledge());
        Assert.False(_rig.Host.InterruptRequested);
        _rig.Write(LguestDialect.BlockedInterrupts, 0);
        Assert.Equal(0x23, _rig.Host.Acknowledge());
    }

    [Fact]
    public void NothingIsDeliveredBeforeTheFirstCall()
    {
        _rig.Host.RaiseInterrupt(3);
        Assert.False(_rig.Host.InterruptRequested);
    }

    [Fact]
    public void RestoredHostGoesOnWhereTheSavedOneStood()
    {
        _rig.Initialise();
        _rig.LoadGate(0x23);
        _rig.Call(7, ParavirtualCpu.KernelData | 1, 0x20_0000, 1);
        _rig.Queue(0, 19);
        _rig.Call(0);
        _rig.Call(9, 1_000_000);
        _rig.Host.RaiseInterrupt(3);
        _rig.Write(LguestDialect.IrqEnabled, 0x200);
        using MemoryStream stream = new();
        using (BinaryWriter writer = new(stream, System.Text.Encoding.UTF8, leaveOpen: true))
        {
            _rig.Host.Save(writer);
        }

        using Rig second = new();
        _rig.CopyMemoryTo(second);
        stream.Position = 0;
        using (BinaryReader reader = new(stream))
        {
            second.Host.Restore(reader);
        }

        Assert.Equal(LguestGeneration.E, second.Host.Dialect!.Generation);
        Assert.Equal(0x20_0000u, second.Cpu.StackPointer);
        Assert.Equal(_rig.Cpu.Idt, second.Cpu.Idt);
        Assert.Equal(_rig.Cpu.Gdt, second.Cpu.Gdt);
        Assert.Equal(0x23, second.Host.Acknowledge());

        // The ring's cursor stands behind its first slot, and the clock is still running.
        second.Queue(1, 8, 1);
        second.Call(0);
        Assert.Equal(0xFFu, second.Read(second.Dialect.RingStatus + 1) & 0xFF);
        second.LoadGate(0x20);
        second.Clock.Advance(2_000_000);
        second.Machine.Poll();
        Assert.Equal(0x20, second.Host.Acknowledge());
    }

    [Fact]
    public void NonsenseIsNotRestored()
    {
        _rig.Initialise();
        using MemoryStream stream = new();
        using (BinaryWriter writer = new(stream, System.Text.Encoding.UTF8, leaveOpen: true))
        {
            _rig.Host.Save(writer);
        }

        byte[] bytes = stream.ToArray();
        bytes[9] = 0xFF;
        using Rig second = new();
        using BinaryReader reader = new(new MemoryStream(bytes));
        Assert.Throws<InvalidDataException>(() => second.Host.Restore(reader));
    }

    /// <summary>Hostile calls of all numbers and arguments: the guest may end, nothing else may
    /// happen.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void AnyCallWithAnyArgumentsLeavesTheHostAlive(int seed)
    {
        Random random = new(seed);
        for (int i = 0; i < 200; i++)
        {
            LguestGeneration generation = (LguestGeneration)random.Next(6);
            using Rig rig = new(generation);
            rig.Initialise();
            for (int call = 0; call < 50 && rig.Machine.Ended is null; call++)
            {
                uint Argument() => random.Next(4) switch
                {
                    0 => (uint)random.Next(64),
                    1 => (uint)random.Next((int)Top),
                    2 => Top + (uint)random.Next(2 << 20),
                    _ => (uint)random.NextInt64(),
                };
                if (random.Next(3) == 0)
                {
                    uint slot = (uint)random.Next(64);
                    rig.Queue(slot, (uint)random.Next(22), Argument(), Argument(), Argument());
                }

                rig.Call((uint)random.Next(22), Argument(), Argument(), Argument());
                _ = rig.Host.InterruptRequested;
            }
        }
    }

    private sealed class Rig : IDisposable
    {
        private readonly GuestRam _ram = new(Top + (LguestBoard.DevicePages * 4096UL), videoHole: false);
        private readonly IVcpu _vcpu;

        internal Rig(LguestGeneration generation = LguestGeneration.E)
        {
            Dialect = LguestDialect.Of(generation);
            Machine = new VirtualMachine(Clock.Clock);
            TranslatorEngine engine = new() { CodeBytes = 4 << 20 };
            _vcpu = engine.CreateVcpu(_ram, Machine, CpuModel.Find("base"));
            Memory = new GuestMemory(_ram, _vcpu.InvalidateCode);
            GuestConsole console = new(_ => { });
            LguestSetup setup = new() { Dialect = Dialect, MemoryTop = Top, TablesEnd = Top };
            Host = new LguestHost(Machine, Memory, console, setup, _ => new Silent());
            Machine.Attach(_vcpu, Host, localApic: null, kvmClock: null);
            Cpu = _vcpu.AttachParavirtual(Host);
            Host.Attach(Cpu, 0x1000);
        }

        internal FakeClock Clock { get; } = new();

        internal LguestDialect Dialect { get; }

        internal VirtualMachine Machine { get; }

        internal GuestMemory Memory { get; }

        internal LguestHost Host { get; }

        internal ParavirtualCpu Cpu { get; }

        public void Dispose()
        {
            _vcpu.Dispose();
            _ram.Dispose();
        }

        internal void Initialise()
        {
            Span<byte> free = stackalloc byte[LguestDialect.RingSlots];
            free.Fill(0xFF);
            Assert.True(Memory.TryWrite(Data + Dialect.RingStatus, free));
            Call(1, Data);
            Assert.Null(Machine.Ended);
        }

        internal void Call(uint number, uint first = 0, uint second = 0, uint third = 0)
        {
            Cpu.SetGpr(Eax, number);
            Cpu.SetGpr(Dialect.Arguments[0], first);
            Cpu.SetGpr(Dialect.Arguments[1], second);
            Cpu.SetGpr(Dialect.Arguments[2], third);
            Assert.True(Host.Hypercall(Dialect.Vmcall));
        }

        internal void Queue(uint slot, uint number, uint first = 0, uint second = 0, uint third = 0)
        {
            ReadOnlySpan<uint> values = [number, first, second, third];
            for (int i = 0; i < values.Length; i++)
            {
                Write(Dialect.Ring + (slot * (uint)Dialect.RingStride * 4) + (Dialect.RingWords[i] * 4u),
                    values[i]);
            }

            Assert.True(Memory.TryWrite(Data + Dialect.RingStatus + slot, [0]));
        }

        internal void LoadGate(uint vector) => Call(6, vector, 0x1234, PresentInterruptGate);

        internal uint Read(uint offset)
        {
            Assert.True(Memory.TryReadUInt32(Data + offset, out uint value));
            return value;
        }

        internal void Write(uint offset, uint value) =>
            Assert.True(Memory.TryWriteUInt32(Data + offset, value));

        internal void CopyMemoryTo(Rig other)
        {
            Assert.True(Memory.TryGetSpan(0, (int)Memory.Size, out Span<byte> from));
            Assert.True(other.Memory.TryWrite(0, from));
        }
    }

    private sealed class Silent : ILguestDevices
    {
        public void Place()
        {
        }

        public bool Notify(uint address) => false;

        public bool BindDma(uint key, uint buffers, uint count, byte irq) => false;

        public void SendDma(uint key, uint dma)
        {
        }

        public void Save(BinaryWriter writer)
        {
        }

        public void Restore(BinaryReader reader)
        {
        }
    }
}
