// Samples of a thread: they come while it works, tell where it is and what it used, and stop coming when it
// waits.

using System;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Threading;
using Lhype.Host;
using Xunit;

namespace Lhype.Tests.Host;

public sealed unsafe class ThreadSamplerTests
{
    [Fact]
    public void A_working_thread_is_sampled_and_a_waiting_one_is_not()
    {
        ulong* block = (ulong*)NativeMemory.AllocZeroed(64);
        long sampledNs = 0, working = 0, waiting = 0;
        ulong word = 0, pc = 0;
        Exception? error = null;
        Thread thread = new(() =>
        {
            try
            {
                using ThreadSampler sampler = new(block, 64, TimeSpan.FromMilliseconds(1));
                sampler.Start();
                long start = Stopwatch.GetTimestamp();
                while (working < 20 && Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(20))
                {
                    block[7] = 0x1234;
                    if (sampler.HasSample)
                    {
                        working++;
                        sampledNs += sampler.CpuNs;
                        word = ((ulong*)sampler.Block)[7];
                        pc = sampler[HostRegister.Rip];
                        sampler.Release();
                    }
                }

                for (int i = 0; i < 40; i++)
                {
                    Thread.Sleep(5);
                    if (sampler.HasSample)
                    {
                        waiting++;
                        sampler.Release();
                    }
                }
            }
            catch (LhypeException refused)
            {
                error = refused;
            }
        });
        thread.Start();
        thread.Join();
        NativeMemory.Free(block);

        Assert.Null(error);
        Assert.Equal(20, working);
        Assert.InRange(sampledNs, 20 * 400_000L, 20_000_000_000L);
        Assert.Equal(0x1234UL, word);
        Assert.NotEqual(0UL, pc);
        Assert.InRange(waiting, 0, 10);
    }
}
