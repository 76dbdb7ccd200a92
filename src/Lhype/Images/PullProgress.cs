// What the user sees while an image is pulled: bars on a terminal (Spectre.Console), plain lines elsewhere,
// nothing with -q. Always on standard error, because standard output belongs to the guest. Used by
// ImageStore's callers.

using System;
using System.IO;
using Spectre.Console;

namespace Lhype.Images;

/// <summary>Receives the steps of a pull, one after the other.</summary>
internal interface IPullProgress
{
    /// <summary>A step begins; the one before is done.</summary>
    void Begin(string step);

    /// <summary>The present step is this far, 0 to 1.</summary>
    void Report(double fraction);
}

/// <summary>Shows the progress of work.</summary>
internal static class PullProgress
{
    /// <summary>Runs <paramref name="work"/> with the display that suits standard error.</summary>
    public static void Show(bool quiet, Action<IPullProgress> work)
    {
        if (quiet)
        {
            work(new Silent());
        }
        else if (Console.IsErrorRedirected)
        {
            work(new Lines(Console.Error));
        }
        else
        {
            ShowBars(work);
        }
    }

    private static void ShowBars(Action<IPullProgress> work)
    {
        IAnsiConsole console = AnsiConsole.Create(
            new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        console.Progress()
            .AutoClear(true)
            .Columns(new SpinnerColumn(), new TaskDescriptionColumn(), new ProgressBarColumn(),
                new PercentageColumn())
            .Start(context =>
            {
                Bars bars = new(context);
                work(bars);
                bars.End();
            });
    }

    /// <summary>Shows nothing.</summary>
    internal sealed class Silent : IPullProgress
    {
        public void Begin(string step)
        {
        }

        public void Report(double fraction)
        {
        }
    }

    /// <summary>One line per step.</summary>
    internal sealed class Lines(TextWriter writer) : IPullProgress
    {
        public void Begin(string step) => writer.WriteLine($"lhype: {step} ...");

        public void Report(double fraction)
        {
        }
    }

    private sealed class Bars(ProgressContext context) : IPullProgress
    {
        private ProgressTask? _task;

        public void Begin(string step)
        {
            End();
            _task = context.AddTask(Markup.Escape(step), maxValue: 1);
        }

        public void Report(double fraction)
        {
            if (_task is not null)
            {
                _task.Value = fraction;
            }
        }

        public void End()
        {
            _task?.Value(1);
            _task?.StopTask();
        }
    }
}
