// The 16550A as Linux's 8250 driver sees it: probing, THRE, loopback, FIFO, and pastes that must not be lost.

using System.Collections.Generic;
using System.Text;
using Lhype.Machine.Bus;
using Lhype.Machine.Devices;
using Xunit;

namespace Lhype.Tests.Machine.Devices;

public sealed class Uart16550Tests
{
    private readonly FakeClock _time = new();
    private readonly IrqLine _irq = new(_ => { });
    private readonly List<byte> _sent = [];
    private readonly Uart16550 _uart;

    public Uart16550Tests() => _uart = new Uart16550(_time.Clock, _irq, _sent.Add);

    [Fact]
    public void SendsBytesInOrder()
    {
        foreach (byte value in Encoding.ASCII.GetBytes("ok\n"))
        {
            Assert.Equal(0x60u, Read(5) & 0x60);
            Write(0, value);
        }

        Assert.Equal("ok\n"u8.ToArray(), _sent.ToArray());
    }

    [Fact]
    public void ProbesAsA16550A()
    {
        Write(1, 0xFF);
        Assert.Equal(0x0Fu, Read(1));
        Write(7, 0x5A);
        Assert.Equal(0x5Au, Read(7));
        Write(2, 1);
        Assert.Equal(0xC0u, Read(2) & 0xE0);
        Write(3, 0x80);
        Write(2, 0x21);
        Assert.Equal(0xC0u, Read(2) & 0xE0);
        Write(0, 0x34);
        Write(1, 0x12);
        Assert.Equal(0x34u, Read(0));
        Assert.Equal(0x12u, Read(1));
        Write(3, 0x03);
        Write(2, 0);
        Assert.Equal(0u, Read(2) & 0xC0);
    }

    [Fact]
    public void LoopbackReturnsOutputsAndData()
    {
        Write(4, 0x1A);
        Assert.Equal(0x90u, Read(6) & 0xF0);
        Write(0, 0x42);
        Assert.Equal(0x42u, Read(0));
        Assert.Empty(_sent);
        Write(4, 0x00);
        Assert.Equal(0xB0u, Read(6) & 0xF0);
    }

    [Fact]
    public void TransmitInterruptIsReassertedWhenEnabledAgain()
    {
        Write(4, 0x08);
        Write(1, 0x02);
        Assert.True(_irq.Level);
        Assert.Equal(0x02u, Read(2));
        Assert.False(_irq.Level);
        Assert.Equal(0x01u, Read(2));
        Write(1, 0x00);
        Write(1, 0x02);
        Assert.Equal(0x02u, Read(2));
        Write(0, 0x41);
        Assert.True(_irq.Level);
    }

    [Fact]
    public void Out2GatesTheInterruptLine()
    {
        Write(1, 0x02);
        Assert.False(_irq.Level);
        Write(4, 0x08);
        Assert.True(_irq.Level);
    }

    [Fact]
    public void ReceivesWithInterrupt()
    {
        Write(2, 0xC1);
        Write(4, 0x0B);
        Write(1, 0x01);
        Assert.True(_uart.Receive(0x61));
        Assert.True(_irq.Level);
        Assert.Equal(0xCCu, Read(2));
        Assert.Equal(0x01u, Read(5) & 1);
        Assert.Equal(0x61u, Read(0));
        Assert.False(_irq.Level);
        Assert.Equal(0u, Read(5) & 1);
    }

    [Fact]
    public void BytesTypedBeforeTheDriverStartsAreKept()
    {
        _uart.Receive(0x78);
        Write(1, 0x0F);
        Write(1, 0x00);
        Write(2, 0x07);
        Assert.Equal(0u, Read(5) & 1);
        Write(4, 0x0B);
        _time.Advance(2_000_000);
        Assert.Equal(0x78u, Read(0));
    }

    [Fact]
    public void FifoResetEmptiesTheFifoButLosesNoInput()
    {
        Write(4, 0x0B);
        _uart.Receive(0x31);
        Write(2, 0x01);
        Assert.Equal(0u, Read(5) & 1);
        _time.Advance(2_000_000);
        _uart.Receive(0x32);
        Write(2, 0x03);
        Assert.Equal(0u, Read(5) & 1);
        _time.Advance(2_000_000);
        Assert.Equal(0x31u, Read(0));
        Assert.Equal(0x32u, Read(0));
    }

    [Fact]
    public void LongPasteArrivesWholeAtLineSpeed()
    {
        Write(2, 0xC1);
        Write(4, 0x0B);
        Write(1, 0x01);
        const int Total = 20_000;
        for (int i = 0; i < Total; i++)
        {
            Assert.True(_uart.Receive((byte)i));
        }

        int got = 0;
        ulong started = _time.Clock.NowNs;
        while (got < Total)
        {
            while ((Read(5) & 1) != 0)
            {
                Assert.Equal((byte)got, (byte)Read(0));
                got++;
            }

            Assert.Equal(0u, Read(5) & 2);
            _time.Advance(100_000);
        }

        Assert.InRange((_time.Clock.NowNs - started) / 1_000_000, 1500ul, 2500ul);
    }

    [Fact]
    public void FullQueueRefusesAndSaysWhenThereIsRoom()
    {
        for (int i = 0; i < Uart16550.QueueLength; i++)
        {
            Assert.True(_uart.Receive(1));
        }

        Assert.False(_uart.Receive(2));
        bool room = false;
        _uart.RoomAvailable = () => room = true;
        Write(2, 0x01);
        Write(4, 0x0B);
        _time.Advance(2_000_000);
        Assert.True(room);
        Assert.Equal(16, _uart.Room);
    }

    [Fact]
    public void BreakIsALineStatusEvent()
    {
        Write(4, 0x0B);
        Write(1, 0x05);
        _uart.ReceiveBreak();
        Assert.Equal(0x06u, Read(2));
        Assert.Equal(0x11u, Read(5) & 0x11);
        Assert.Equal(0x04u, Read(2));
    }

    [Fact]
    public void WideAccessesAreSplitIntoBytes()
    {
        AddressBus bus = new();
        _uart.Attach(bus, 0x3F8);
        bus.WritePort(0x3FE, 2, 0x5A00);
        Assert.Equal(0x5AB0u, bus.ReadPort(0x3FE, 2));
        Assert.Equal(0xFF5Au, bus.ReadPort(0x3FF, 2));
        bus.WritePort(0x3FF, 4, 0x11);
        Assert.Equal(0x11u, bus.ReadPort(0x3FF, 1));
    }

    [Fact]
    public void StateSurvivesSaving()
    {
        Write(2, 1);
        Write(4, 0x0B);
        Write(7, 0x77);
        _uart.Receive(0x31);
        _uart.Receive(0x32);
        Uart16550 copy = new(_time.Clock, new IrqLine(_ => { }), _ => { });
        StateCopy.Transfer(_uart, copy);
        Assert.Equal(0x77u, copy.ReadPort(0x3FF, 1));
        Assert.Equal(0x31u, copy.ReadPort(0x3F8, 1));
        _time.Advance(2_000_000);
        Assert.Equal(0x32u, copy.ReadPort(0x3F8, 1));
    }

    private uint Read(int register) => _uart.ReadPort((ushort)(0x3F8 + register), 1);

    private void Write(int register, byte value) => _uart.WritePort((ushort)(0x3F8 + register), 1, value);
}
